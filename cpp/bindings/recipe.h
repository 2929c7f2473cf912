#pragma once
#include <utility>
#include <vector>

#include "bindings.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/optimizer.h"

// Conversion of the parts of a recipe from plain Python values. Unknown or missing names raise ValueError.
namespace mnistcnn::bindings {

using RangePairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::vector<train::ParameterRange> read_ranges(const RangePairs& pairs);

struct OptimizerSettings {
  train::Rule rule;
  train::GradientOptions gradients;
};
OptimizerSettings read_optimizer(const py::dict& settings);

train::AveragingRule read_averaging(const py::dict& settings);

}  // namespace mnistcnn::bindings
