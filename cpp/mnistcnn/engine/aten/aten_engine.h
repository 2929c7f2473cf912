#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/parameters.h"

namespace mnistcnn::engine::aten {

// libtorch's operators and autograd, on the device where the model's parameters lie: any device, every layer, the
// reference for the other engine. Its threads are libtorch's own. The model must outlive the engine.
std::unique_ptr<Engine> make_engine(network::Model& model);

}  // namespace mnistcnn::engine::aten
