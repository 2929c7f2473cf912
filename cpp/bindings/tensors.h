#pragma once
#include <memory>

#include "bindings.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/model_view.h"

namespace mnistcnn::bindings {

// What Python gives for the tensors of a model: three lists (parameters, buffers, counters). Throws
// std::invalid_argument for a list entry that is no tensor, TypeError for one that is a subclass of Tensor other than
// Parameter.
network::Tensors read_tensors(const network::Network& network, const py::handle& lists);
std::vector<at::Tensor> read_parameters(const network::Network& network, const py::handle& list);

// A function of Python that returns such lists, called with the GIL. The function and the network must outlive the
// source.
train::TensorSource tensor_source(const network::Network& network, py::handle function);

}  // namespace mnistcnn::bindings
