#pragma once
#include "bindings.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/model_view.h"

namespace mnistcnn::bindings {

// Convert the tensors of a model from three Python lists (parameters, buffers, counters). Throw std::invalid_argument
// if an element is not a tensor, TypeError if it is a subclass of Tensor other than Parameter.
network::Tensors read_tensors(const network::Network& network, const py::handle& lists);
std::vector<at::Tensor> read_parameters(const network::Network& network, const py::handle& list);

// Wrap a Python function that returns such lists. It is called with the GIL held. The function and the network must
// outlive the source.
train::TensorSource tensor_source(const network::Network& network, py::handle function);

}  // namespace mnistcnn::bindings
