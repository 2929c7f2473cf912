#pragma once
#include <memory>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::engine::aten {

// Engine that uses the operators and autograd of libtorch, on the device of the model's parameters. It supports every
// layer and every device, and is the reference for the lanes engine. It uses the threads of libtorch.
std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network, int threads);

}  // namespace mnistcnn::engine::aten
