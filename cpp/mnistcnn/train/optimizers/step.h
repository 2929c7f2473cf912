#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

// Common types of the optimizers. An optimizer is a struct of settings, listed by `visit`, with an update formula: a
// function object that updates a value and its state. The formula is a template, used with float in a loop over the
// flat arrays and with at::Tensor on other devices. The arithmetic is that of torch.optim.
namespace mnistcnn::train {

// Arguments of an update.
struct OptimizerStep {
  double learning_rate;
  std::optional<double> momentum;  // set by a schedule; nullopt: the momentum of the rule
  bool decayed;                    // whether weight decay applies to these parameters
  std::int64_t number;             // number of updates of these parameters, including this one
  double* momentum_product;        // of NAdam, over all previous updates
};

// Names of the flat state arrays of a rule, as in torch.optim.
using Slots = std::vector<std::string_view>;

}  // namespace mnistcnn::train
