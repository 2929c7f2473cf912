#include "mnistcnn/engine/lanes/stopwatch.h"

#include <algorithm>
#include <utility>

#include "mnistcnn/engine/lanes/compiler.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::pair<Chore, const char*> kChoreNames[] = {
    {kGather, "gather images"}, {kPacking, "pack weights"}, {kLoss, "loss"}, {kReduction, "add up gradients"}};

}  // namespace

StepProfile read(const Stopwatch& stopwatch, const Plan& plan) {
  StepProfile profile;
  profile.steps = stopwatch.steps();
  profile.seconds = stopwatch.seconds_in_steps();
  for (const auto& op : plan.ops) {
    const auto seconds = [&](Pass pass) { return stopwatch.seconds(work_of(op->number(), pass)); };
    const auto trains = [](const Input& input) { return input.value->trains; };
    const std::vector<Input>& inputs = std::as_const(*op).inputs();
    profile.operations.push_back({op->nodes(), seconds(Pass::kForward), seconds(Pass::kInputGradients),
                                  seconds(Pass::kWeightGradients), std::any_of(inputs.begin(), inputs.end(), trains)});
  }
  for (const auto& [chore, name] : kChoreNames) profile.chores.push_back({name, stopwatch.seconds({chore})});
  return profile;
}

}  // namespace mnistcnn::engine::lanes
