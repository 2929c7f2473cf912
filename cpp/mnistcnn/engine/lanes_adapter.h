#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::engine {

// The lanes engine, which knows no tensors, behind the contract, which speaks of them.
std::unique_ptr<Engine> adapt_lanes(std::shared_ptr<const network::Network> network, int threads);

}  // namespace mnistcnn::engine
