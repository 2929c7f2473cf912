#include "mnistcnn/engine/lanes/ops/activation_op.h"

namespace mnistcnn::engine::lanes {

ActivationOp::ActivationOp(Input input, Value* output, Activation activation, ActivationParameters parameters,
                           Slopes slopes)
    : Op({input}), output_(output), activation_(activation), parameters_(parameters) {
  slopes_ = {slopes.use, slopes.count, 0};
}

Needs ActivationOp::needs() const {
  Needs needs;
  needs.temporary = input().value->extent.elements() * kLanes;
  return needs;
}

std::vector<Op::PartialGradient*> ActivationOp::partial_gradients() {
  if (slopes_.count == 0) return {};
  return {&slopes_};
}

ActivationRow ActivationOp::channel(const BlockRun& at, std::int64_t c) const {
  ActivationRow row{};
  row.count = input().value->extent.positions() * kLanes;
  row.x = at.view(input().value->activation).data + c * row.count;
  row.parameters = parameters_;
  if (slopes_.count > 0)
    row.parameters.first = at.run.values[static_cast<std::size_t>(slopes_.use)][slopes_.count == 1 ? 0 : c];
  return row;
}

void ActivationOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    for (std::int64_t c = 0; c < input().value->extent.channels; ++c) {
      ActivationRow row = channel(at, c);
      row.out = at.view(output_->activation).data + c * row.count;
      at.run.kernels->activation_forward[activation_](row);
    }
  });
}

// Of the gradient times x wherever x is not positive, in double, image after image.
void ActivationOp::slope_gradients(const BlockRun& at) const {
  float* const partial = at.partial(slopes_.partial);
  const float* gradient = at.view(output_->gradient).data;
  double sum = 0;
  for (std::int64_t c = 0; c < input().value->extent.channels; ++c) {
    const ActivationRow row = channel(at, c);
    if (slopes_.count > 1) sum = 0;
    for (std::int64_t i = 0; i < row.count; ++i)
      if (!(row.x[i] > 0)) sum += static_cast<double>(gradient[c * row.count + i]) * row.x[i];
    float& out = partial[slopes_.count > 1 ? c : 0];
    const bool last = slopes_.count > 1 || c + 1 == input().value->extent.channels;
    if (last) out = static_cast<float>((at.adds_to_partial() ? out : 0.0f) + sum);
  }
}

void ActivationOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    if (slopes_.count > 0) slope_gradients(at);
    if (!input().wants_gradient(at.run)) return;
    give_gradient(at, input(), places_.temporary, [&](View target) {
      for (std::int64_t c = 0; c < input().value->extent.channels; ++c) {
        ActivationRow row = channel(at, c);
        row.gradient = at.view(output_->gradient).data + c * row.count;
        row.out = target.data + c * row.count;
        at.run.kernels->activation_backward[activation_](row);
      }
    });
  });
}

}  // namespace mnistcnn::engine::lanes
