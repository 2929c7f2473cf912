#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/train/optimizer.h"
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

void bind_optimizer(py::module_& module) {
  module.def(
      "momentum_of", [](const py::dict& settings) { return train::momentum_of(read_optimizer(settings).rule); },
      py::arg("settings"));
}

}  // namespace mnistcnn::bindings
