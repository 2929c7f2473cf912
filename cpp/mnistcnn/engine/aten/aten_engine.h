#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::engine::aten {

// libtorch's operators and autograd, on the device where the model's parameters lie: any device, every layer, the
// reference for the other engine. Its threads are libtorch's own.
std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network);

}  // namespace mnistcnn::engine::aten
