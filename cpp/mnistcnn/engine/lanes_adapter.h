#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/engine/lanes/lanes_engine.h"
#include "mnistcnn/network/parameters.h"

namespace mnistcnn::engine {

// The lanes engine, which knows no tensors, behind the contract, which speaks of them.
std::unique_ptr<Engine> adapt_lanes(network::Model& model, int threads);

}  // namespace mnistcnn::engine
