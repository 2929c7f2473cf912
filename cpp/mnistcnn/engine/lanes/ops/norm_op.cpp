#include "mnistcnn/engine/lanes/ops/norm_op.h"

namespace mnistcnn::engine::lanes {

NormOp::NormOp(Input input, Value* output, Layout layout) : Op({input}), output_(output), layout_(layout) {
  weight_gradient_ = {layout_.weight, layout_.weight >= 0 ? layout_.weights : 0, 0};
  bias_gradient_ = {layout_.bias, layout_.bias >= 0 ? layout_.weights : 0, 0};
}

Needs NormOp::needs() const {
  Needs needs;
  needs.temporary = (input().value->extent.elements() + 2 * layout_.weights) * kLanes;
  return needs;
}

std::vector<Op::PartialGradient*> NormOp::partial_gradients() {
  std::vector<PartialGradient*> gradients;
  if (layout_.weight >= 0) gradients.push_back(&weight_gradient_);
  if (layout_.bias >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

NormTile NormOp::tile(const BlockRun& at) const {
  NormTile t{};
  t.x = at.view(input().value->activation).data;
  t.groups = static_cast<int>(layout_.groups);
  t.length = input().value->extent.elements() / layout_.groups;
  t.weight = layout_.weight >= 0 ? at.run.values[static_cast<std::size_t>(layout_.weight)] : nullptr;
  t.bias = layout_.bias >= 0 ? at.run.values[static_cast<std::size_t>(layout_.bias)] : nullptr;
  t.weight_divisor = layout_.weight_divisor;
  t.weight_modulus = layout_.weight_modulus;
  t.eps = static_cast<float>(layout_.eps);
  return t;
}

void NormOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    NormTile t = tile(at);
    t.out = at.view(output_->activation).data;
    at.run.kernels->norm_forward(t);
  });
}

void NormOp::backward(const BlockRun& at) const {
  float* const sums = thread_memory(at, places_.temporary) + input().value->extent.elements() * kLanes;
  std::fill_n(sums, 2 * layout_.weights * kLanes, 0.0f);
  give_gradient(at, input(), places_.temporary, [&](View target) {
    NormTile t = tile(at);
    t.gradient = at.view(output_->gradient).data;
    t.out = target.data;
    t.weight_sum = layout_.weight >= 0 ? sums : nullptr;
    t.bias_sum = layout_.bias >= 0 ? sums + layout_.weights * kLanes : nullptr;
    at.run.kernels->norm_backward(t);
  });
  const auto finish = [&](const PartialGradient& gradient, const float* from) {
    float* const partial = at.partial(gradient.partial);
    for (std::int64_t i = 0; i < gradient.count; ++i) {
      double sum = at.adds_to_partial() ? partial[i] : 0;
      for (int image = 0; image < at.live(); ++image) sum += from[i * kLanes + image];
      partial[i] = static_cast<float>(sum);
    }
  };
  finish(weight_gradient_, sums);
  finish(bias_gradient_, sums + layout_.weights * kLanes);
}

void NormOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) { backward(at); });
}

}  // namespace mnistcnn::engine::lanes
