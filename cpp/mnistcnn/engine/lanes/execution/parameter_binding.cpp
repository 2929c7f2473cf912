#include "mnistcnn/engine/lanes/execution/parameter_binding.h"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::engine::lanes {

ParameterBinding::ParameterBinding(const ExecutionPlan& plan, const network::Analysis& analysis)
    : plan_(plan), analysis_(analysis) {
  std::int64_t shared = 0;
  for (const ExecutionPlan::ParameterUse& use : plan_.uses)
    if (!use.writes_gradient) shared += use.count;
  shared_gradients_.resize(static_cast<std::size_t>(shared));
}

void ParameterBinding::check(Call call, const TensorPointers& tensors) const {
  const std::size_t parameters = analysis_.parameters.size();
  if (tensors.parameters.size() != parameters || (call != Call::kForward && tensors.gradients.size() != parameters))
    throw std::invalid_argument(common::text("the network has ", parameters, " parameters, got ",
                                             tensors.parameters.size(), " parameters and ", tensors.gradients.size(),
                                             " gradients"));
  if (call != Call::kBackward &&
      (tensors.buffers.size() != analysis_.buffers.size() || tensors.counters.size() != analysis_.counters.size()))
    throw std::invalid_argument(common::text("the network has ", analysis_.buffers.size(), " buffers and ",
                                             analysis_.counters.size(), " counters, got ", tensors.buffers.size(),
                                             " and ", tensors.counters.size()));
}

void ParameterBinding::bind(Call call, const TensorPointers& tensors, BatchContext& batch) {
  check(call, tensors);
  release(batch);  // also after a call that failed here
  float* shared = shared_gradients_.data();
  for (const ExecutionPlan::ParameterUse& use : plan_.uses) {
    const auto parameter = static_cast<std::size_t>(use.parameter);
    batch.parameters.push_back(tensors.parameters[parameter]);
    if (call == Call::kForward) continue;
    batch.gradients.push_back(use.writes_gradient ? tensors.gradients[parameter] : shared);
    if (!use.writes_gradient) shared += use.count;
  }
  batch.buffers = tensors.buffers;
  batch.counters = tensors.counters;
  if (call == Call::kForward) return;
  for (const int unused : plan_.unused_parameters) {
    const auto parameter = static_cast<std::size_t>(unused);
    std::fill_n(tensors.gradients[parameter], analysis_.parameters[parameter].count, 0.0f);
  }
}

void ParameterBinding::release(BatchContext& batch) {
  batch.parameters.clear();
  batch.gradients.clear();
  batch.buffers = {};
  batch.counters = {};
}

// Add the gradients of the earlier uses to that of the last use, in backward order.
void ParameterBinding::add_shared_gradients(Program& program) const {
  if (shared_gradients_.empty()) return;
  program.serial([this](const BatchContext& batch) noexcept {
    for (std::size_t use = plan_.uses.size(); use-- > 0;) {
      if (plan_.uses[use].writes_gradient) continue;
      std::size_t last = plan_.uses.size() - 1;
      while (plan_.uses[last].parameter != plan_.uses[use].parameter) --last;
      for (std::int64_t i = 0; i < plan_.uses[use].count; ++i) batch.gradients[last][i] += batch.gradients[use][i];
    }
  });
}

}  // namespace mnistcnn::engine::lanes
