#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::engine {

// Create a lanes engine. The adapter passes the memory of PyTorch tensors to the engine, which takes plain pointers.
std::unique_ptr<Engine> adapt_lanes(std::shared_ptr<const network::Network> network, int threads);

}  // namespace mnistcnn::engine
