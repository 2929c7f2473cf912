#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

// An optimizer is a plain value whose fields `visit` lists, and one formula: a function object that updates one number
// and what is remembered of it. The formula is a template, written once: for floats in one pass over the flat arrays,
// for whole tensors on other devices. The arithmetic is torch.optim's.
namespace mnistcnn::train {

// What a rule must know of the step it is about to make.
struct OptimizerStep {
  double learning_rate;
  std::optional<double> momentum;  // a schedule's; the rule's own where there is none
  bool decayed;                    // whether these parameters take part in weight decay
  std::int64_t number;             // how often these parameters have been updated, this time included
  double* momentum_product;        // NAdam's, over all steps so far
};

// The names of the flat arrays that a rule keeps between steps, as torch.optim calls them.
using Slots = std::vector<std::string_view>;

}  // namespace mnistcnn::train
