#include <memory>
#include <stdexcept>

#include "arrays.h"
#include "bindings.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/optimizer.h"
#include "native_calls.h"
#include "recipe.h"
#include "settings.h"

namespace mnistcnn::bindings {
std::vector<train::ParameterRange> read_ranges(const RangePairs& pairs) {
  std::vector<train::ParameterRange> ranges;
  for (const auto& [begin, end] : pairs) ranges.push_back({begin, end});
  return ranges;
}

OptimizerSettings read_optimizer(const py::dict& settings) {
  std::size_t known = 4;
  const auto rule = read_alternative<train::Rule>(settings["kind"].cast<std::string>(), settings, known, "optimizer");
  if (known != settings.size()) throw std::invalid_argument("the optimizer has unknown settings");
  return {rule,
          {settings["l1"].cast<double>(), settings["clip_norm"].cast<double>(), settings["clip_value"].cast<double>()}};
}

namespace {

std::unique_ptr<train::Optimizer> make_optimizer(const network::Network& network, const py::dict& settings,
                                                 const RangePairs& trainable, const RangePairs& undecayed) {
  const auto [rule, gradients] = read_optimizer(settings);
  const NativeCall no_gil;
  return std::make_unique<train::Optimizer>(rule, gradients, train::parameter_slices(network.analysis),
                                            read_ranges(trainable), read_ranges(undecayed));
}

}  // namespace

void bind_optimizer(py::module_& module) {
  py::class_<train::Optimizer>(module, "Optimizer")
      .def(py::init(&make_optimizer), py::arg("network"), py::arg("settings"), py::kw_only(), py::arg("trainable"),
           py::arg("undecayed"))
      .def(
          "set_trainable",
          [](train::Optimizer& optimizer, const RangePairs& trainable) {
            optimizer.set_trainable(read_ranges(trainable));
          },
          py::arg("trainable"))
      .def(
          "step",
          [](train::Optimizer& optimizer, at::Tensor values, const at::Tensor& gradients, double learning_rate,
             std::optional<double> momentum) {
            check_array("values", values, at::kFloat, {values.numel()});
            check_array("gradients", gradients, at::kFloat, {values.numel()});
            const NativeCall no_gil;
            optimizer.step(values, gradients, learning_rate, momentum);
          },
          py::arg("values"), py::arg("gradients"), py::kw_only(), py::arg("learning_rate"), py::arg("momentum"))
      .def("state", &train::Optimizer::state, py::call_guard<NativeCall>())
      .def("restore", &train::Optimizer::restore, py::arg("state"), py::call_guard<NativeCall>());
  module.def(
      "momentum_of", [](const py::dict& settings) { return train::momentum_of(read_optimizer(settings).rule); },
      py::arg("settings"));
}

}  // namespace mnistcnn::bindings
