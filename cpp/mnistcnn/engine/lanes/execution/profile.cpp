#include "mnistcnn/engine/lanes/execution/profile.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::pair<Overhead, const char*> kOverheadNames[] = {
    {kGather, "gather images"}, {kPacking, "pack weights"}, {kLoss, "loss"}, {kReduction, "add up gradients"}};

}  // namespace

StepProfile make_profile(const Stopwatch& stopwatch, const ExecutionPlan& plan) {
  StepProfile profile;
  profile.steps = stopwatch.steps();
  profile.seconds = stopwatch.seconds_in_steps();
  for (const auto& op : plan.ops) {
    const auto seconds = [&](Pass pass) { return stopwatch.seconds(time_category(op->index(), pass)); };
    const auto requires_grad = [](const Input& input) { return input.tensor->requires_grad; };
    const std::vector<Input>& inputs = std::as_const(*op).inputs();
    profile.operations.push_back({op->nodes(), seconds(Pass::kForward), seconds(Pass::kInputGradients),
                                  seconds(Pass::kWeightGradients), std::ranges::any_of(inputs, requires_grad)});
  }
  for (const auto& [overhead, name] : kOverheadNames)
    profile.overheads.push_back({name, stopwatch.seconds({overhead})});
  return profile;
}

}  // namespace mnistcnn::engine::lanes
