#include "mnistcnn/engine/lanes/ops/block_linear_op.h"

#include "mnistcnn/engine/lanes/product.h"

namespace mnistcnn::engine::lanes {

BlockLinearOp::BlockLinearOp(Source source, Value* output, int weight, int bias)
    : Op({Input{source.value}}), source_(source), output_(output), weight_(weight), bias_(bias) {
  weight_gradient_ = {weight_, inputs() * outputs(), 0};
  bias_gradient_ = {bias_, bias_ >= 0 ? outputs() : 0, 0};
}

Needs BlockLinearOp::needs() const {
  Needs needs;
  needs.input_scratch = whole_vectors(inputs()) * kLanes;
  needs.gradient_scratch = whole_vectors(inputs()) * kLanes;  // the transposed input
  needs.temporary = inputs() * kLanes;
  return needs;
}

std::vector<Op::PartialGradient*> BlockLinearOp::partial_gradients() {
  std::vector<PartialGradient*> gradients{&weight_gradient_};
  if (bias_ >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

// f32 [inputs][16]
const float* BlockLinearOp::input_map(const BlockRun& at) const {
  if (!source_.lazy) return at.view(source_.value->activation).data;
  float* const scratch = thread_memory(at, places_.input_scratch);
  source_.lazy->compute(at, dense(scratch, source_.extent()));
  return scratch;
}

void BlockLinearOp::forward(const BlockRun& at) const {
  float* const y = at.view(output_->activation).data;
  const float* const bias = bias_ >= 0 ? at.run.values[static_cast<std::size_t>(bias_)] : nullptr;
  for (std::int64_t o = 0; o < outputs(); ++o) std::fill_n(y + o * kLanes, kLanes, bias != nullptr ? bias[o] : 0.0f);
  multiply(*at.run.kernels, {outputs(), kLanes, inputs(), at.run.values[static_cast<std::size_t>(weight_)], inputs(), 1,
                             input_map(at), kLanes, y, kLanes, true});
}

// Over the images of the block: with the input transposed to [16][inputs], a product 16 deep.
void BlockLinearOp::weight_gradients(const BlockRun& at, const float* d) const {
  const Timed timed(at.run, at.thread, work_of(number(), Pass::kWeightGradients));
  float* const transposed = thread_memory(at, places_.gradient_scratch);
  const std::int64_t row = whole_vectors(inputs());
  const float* x = input_map(at);
  // The transposition takes four rows at once; the last few are copied to where there is room for four.
  const std::int64_t fours = inputs() / 4 * 4;
  at.run.kernels->transpose(x, kLanes, static_cast<int>(fours), kLanes, transposed, row);
  for (std::int64_t f = fours; f < row; ++f)
    for (int i = 0; i < kLanes; ++i) transposed[i * row + f] = f < inputs() ? x[f * kLanes + i] : 0.0f;
  multiply(*at.run.kernels, {outputs(), inputs(), kLanes, d, kLanes, 1, transposed, row,
                             at.partial(weight_gradient_.partial), inputs(), at.adds_to_partial()});
}

void BlockLinearOp::backward(const BlockRun& at) const {
  const float* d = at.view(output_->gradient).data;
  weight_gradients(at, d);
  if (bias_ >= 0) {
    std::vector<float> sums(static_cast<std::size_t>(outputs()));
    at.run.kernels->sum_planes(d, kLanes, kLanes, static_cast<int>(outputs()), 1, 1, sums.data());
    float* const partial = at.partial(bias_gradient_.partial);
    for (std::size_t o = 0; o < sums.size(); ++o) partial[o] = at.adds_to_partial() ? partial[o] + sums[o] : sums[o];
  }
  if (!input().wants_gradient(at.run)) return;
  give_gradient(at, input(), places_.temporary, [&](View target) {
    multiply(*at.run.kernels, {inputs(), kLanes, outputs(), at.run.values[static_cast<std::size_t>(weight_)], 1,
                               inputs(), d, kLanes, target.data, kLanes});
  });
}

void BlockLinearOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) { forward(at); });
}

void BlockLinearOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) { backward(at); });
}

}  // namespace mnistcnn::engine::lanes
