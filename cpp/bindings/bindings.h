#pragma once
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

// Python bindings of the core, one bind_<module>.cpp per module. They check types and shapes, so that no call reads out
// of bounds. Documentation and most defaults are in the Python package.
namespace mnistcnn::bindings {

namespace py = pybind11;

void bind_errors(py::module_& module);
void bind_exit(py::module_& module);
void bind_data(py::module_& module);
void bind_augmentation(py::module_& module);
void bind_network(py::module_& module);
void bind_zoo(py::module_& module);
void bind_guard(py::module_& module);
void bind_engine(py::module_& module);
void bind_optimizer(py::module_& module);
void bind_loss(py::module_& module);
void bind_averaging(py::module_& module);
void bind_schedule(py::module_& module);
void bind_metrics(py::module_& module);
void bind_train(py::module_& module);
void bind_profile(py::module_& module);
void bind_testing(py::module_& module);

}  // namespace mnistcnn::bindings
