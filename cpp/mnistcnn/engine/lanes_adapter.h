#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::engine {

// Return the lanes engine, which takes plain pointers, as an Engine, which takes tensors of PyTorch.
std::unique_ptr<Engine> adapt_lanes(std::shared_ptr<const network::Network> network, int threads);

}  // namespace mnistcnn::engine
