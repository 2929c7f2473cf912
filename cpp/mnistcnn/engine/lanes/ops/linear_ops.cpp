#include "mnistcnn/engine/lanes/ops/linear_ops.h"

#include <algorithm>

#include "mnistcnn/engine/lanes/gemm/gemm.h"

namespace mnistcnn::engine::lanes {
namespace {

// Rows of a GEMM over the batch that a task computes, multiples of the register tiles' rows. The backward has enough
// tasks for even work. With 48 rows it reads whole cache lines of columns of weights.
constexpr std::int64_t kForwardRows = 24, kBackwardRows = 48;
static_assert(kBackwardRows <= Gemm::kMaxPackedRows);

// Larger weight gradients are written past the caches: they would not stay there until the optimizer reads them.
constexpr std::int64_t kMaxCachedGradient = 1 << 21;

int tasks_for(std::int64_t rows, std::int64_t rows_per_task) {
  return static_cast<int>((rows + rows_per_task - 1) / rows_per_task);
}

const float* parameter(const BatchContext& batch, int use) { return batch.parameters[static_cast<std::size_t>(use)]; }
float* gradient(const BatchContext& batch, int use) { return batch.gradients[static_cast<std::size_t>(use)]; }

// Transpose one block, f32 [features][16] with row stride x_row, to [16][features] with row stride `row`. The kernel
// processes four features at once. Columns from `features` to `columns` are set to zero.
void transpose_block(const KernelTable& kernels, const float* x, std::int64_t x_row, std::int64_t features,
                     std::int64_t columns, float* out, std::int64_t row) {
  const std::int64_t fours = features / 4 * 4;
  kernels.transpose(x, x_row, static_cast<int>(fours), kLanes, out, row);
  for (std::int64_t f = fours; f < columns; ++f)
    for (int i = 0; i < kLanes; ++i) out[i * row + f] = f < features ? x[f * x_row + i] : 0.0f;
}

}  // namespace

// ---- per block

BlockLinearOp::BlockLinearOp(FusedInput input, Tensor* output, int weight, int bias)
    : Op({Input{input.tensor}}), fused_input_(input), output_(output), weight_(weight), bias_(bias) {
  weight_gradient_ = {weight_, inputs() * outputs(), 0};
  bias_gradient_ = {bias_, bias_ >= 0 ? outputs() : 0, 0};
}

MemoryRequirements BlockLinearOp::memory_requirements() const {
  MemoryRequirements required;
  required.input_scratch = whole_vectors(inputs()) * kLanes;
  required.gradient_scratch = whole_vectors(inputs()) * kLanes;  // the transposed input
  required.temporary = inputs() * kLanes;
  return required;
}

std::vector<PartialGradient*> BlockLinearOp::partial_gradients() {
  std::vector<PartialGradient*> gradients{&weight_gradient_};
  if (bias_ >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

// Return the input of a block, f32 [inputs][16].
const float* BlockLinearOp::input_map(const BlockContext& block) const {
  if (fused_input_.prologue == nullptr) return block.view(fused_input_.tensor->activation).data;
  float* const scratch = block.scratch_memory(offsets_.input_scratch);
  fused_input_.prologue->compute(block, dense_view(scratch, fused_input_.extent()));
  return scratch;
}

void BlockLinearOp::forward(const BlockContext& block) const {
  float* const y = block.view(output_->activation).data;
  const float* const bias = bias_ >= 0 ? parameter(block.batch, bias_) : nullptr;
  for (std::int64_t o = 0; o < outputs(); ++o) std::fill_n(y + o * kLanes, kLanes, bias != nullptr ? bias[o] : 0.0f);
  gemm(*block.batch.kernels, {outputs(), kLanes, inputs(), parameter(block.batch, weight_), inputs(), 1,
                              input_map(block), kLanes, y, kLanes, true});
}

// A GEMM of depth 16, over the images of the block, with the input transposed to [16][inputs].
void BlockLinearOp::weight_gradient(const BlockContext& block, const float* d) const {
  float* const transposed = block.scratch_memory(offsets_.gradient_scratch);
  const std::int64_t row = whole_vectors(inputs());
  transpose_block(*block.batch.kernels, input_map(block), kLanes, inputs(), row, transposed, row);
  gemm(*block.batch.kernels, {outputs(), inputs(), kLanes, d, kLanes, 1, transposed, row,
                              block.partial(weight_gradient_.partial), inputs(), block.accumulates_partial()});
}

void BlockLinearOp::bias_gradient(const BlockContext& block, const float* d) const {
  block.batch.kernels->sum_over_images(d, static_cast<int>(outputs()), block.accumulates_partial(),
                                       block.partial(bias_gradient_.partial));
}

void BlockLinearOp::backward(const BlockContext& block) const {
  const float* const d = block.view(output_->gradient).data;
  {
    const ScopedTimer timer(block.batch, block.thread, time_category(index(), Pass::kWeightGradients));
    weight_gradient(block, d);
    if (bias_ >= 0) bias_gradient(block, d);
  }
  if (!input().needs_gradient(block.batch)) return;
  write_gradient(block, input(), offsets_.temporary, [&](View target) {
    gemm(*block.batch.kernels,
         {inputs(), kLanes, outputs(), parameter(block.batch, weight_), 1, inputs(), d, kLanes, target.data, kLanes});
  });
}

void BlockLinearOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept { forward(block); });
}

void BlockLinearOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept { backward(block); });
}

// ---- over the whole batch

BatchLinearOp::BatchLinearOp(FusedInput input, Tensor* output, int weight, int bias)
    : Op({Input{input.tensor}}), fused_input_(input), output_(output), weight_(weight), bias_(bias) {}

MemoryRequirements BatchLinearOp::memory_requirements() const {
  MemoryRequirements required;
  required.input_scratch = inputs() * kLanes;
  required.temporary = inputs() * kLanes;
  required.batch = (2 * inputs() + 2 * outputs() + transposed_row()) * kLanes;
  return required;
}

float* BatchLinearOp::matrix(const BatchContext& batch, Matrix which) const {
  const std::int64_t sizes[] = {inputs(), outputs(), inputs(), outputs()};
  std::int64_t rows = 0;
  for (int i = 0; i < which; ++i) rows += sizes[i];
  return batch.batch_memory + (offsets_.batch + rows * kLanes) * batch.batch_blocks;
}

void BatchLinearOp::gather_rows(const BlockContext& block, const float* from, Matrix to, std::int64_t count) const {
  float* const target = matrix(block.batch, to) + block.index * kLanes;
  for (std::int64_t i = 0; i < count; ++i) std::copy_n(from + i * kLanes, kLanes, target + i * row(block.batch));
}

void BatchLinearOp::scatter_rows(const BlockContext& block, Matrix from, float* to, std::int64_t count) const {
  const float* const source = matrix(block.batch, from) + block.index * kLanes;
  for (std::int64_t i = 0; i < count; ++i) std::copy_n(source + i * row(block.batch), kLanes, to + i * kLanes);
}

void BatchLinearOp::gather_input(const BlockContext& block) const {
  if (fused_input_.prologue == nullptr)
    return gather_rows(block, block.view(fused_input_.tensor->activation).data, kX, inputs());
  float* const scratch = block.scratch_memory(offsets_.input_scratch);
  fused_input_.prologue->compute(block, dense_view(scratch, fused_input_.extent()));
  gather_rows(block, scratch, kX, inputs());
}

void BatchLinearOp::gather_gradients(const BlockContext& block) const {
  gather_rows(block, block.view(output_->gradient).data, kGradientY, outputs());
  transpose_block(*block.batch.kernels, matrix(block.batch, kX) + block.index * kLanes, row(block.batch), inputs(),
                  inputs(), matrix(block.batch, kTransposedX) + block.index * kLanes * transposed_row(),
                  transposed_row());
}

void BatchLinearOp::output_rows(const BatchContext& batch, int task) const {
  const std::int64_t first = task * kForwardRows, count = std::min(kForwardRows, outputs() - first);
  float* const y = matrix(batch, kY) + first * row(batch);
  const std::int64_t images = std::int64_t{batch.blocks} * kLanes;
  for (std::int64_t o = 0; o < count; ++o)
    std::fill_n(y + o * row(batch), images, bias_ >= 0 ? parameter(batch, bias_)[first + o] : 0.0f);
  gemm(*batch.kernels, {count, images, inputs(), parameter(batch, weight_) + first * inputs(), inputs(), 1,
                        matrix(batch, kX), row(batch), y, row(batch), true});
}

void BatchLinearOp::input_gradient_rows(const BatchContext& batch, int task) const {
  const std::int64_t first = task * kBackwardRows, count = std::min(kBackwardRows, inputs() - first);
  const std::int64_t images = std::int64_t{batch.blocks} * kLanes;
  Gemm problem{count,
               images,
               outputs(),
               parameter(batch, weight_) + first,
               1,
               inputs(),
               matrix(batch, kGradientY),
               row(batch),
               matrix(batch, kGradientX) + first * row(batch),
               row(batch)};
  problem.pack_a = true;
  gemm(*batch.kernels, problem);
}

void BatchLinearOp::weight_gradient_rows(const BatchContext& batch, int task) const {
  const std::int64_t first = task * kBackwardRows, count = std::min(kBackwardRows, outputs() - first);
  const std::int64_t images = std::int64_t{batch.blocks} * kLanes;
  const float* const d = matrix(batch, kGradientY) + first * row(batch);
  Gemm problem{count,
               inputs(),
               images,
               d,
               row(batch),
               1,
               matrix(batch, kTransposedX),
               transposed_row(),
               gradient(batch, weight_) + first * inputs(),
               inputs()};
  problem.stream_y = inputs() * outputs() > kMaxCachedGradient;
  gemm(*batch.kernels, problem);
  for (std::int64_t o = 0; bias_ >= 0 && o < count; ++o) {
    double sum = 0;
    for (std::int64_t i = 0; i < images; ++i) sum += d[o * row(batch) + i];
    gradient(batch, bias_)[first + o] = static_cast<float>(sum);
  }
}

void BatchLinearOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept { gather_input(block); });
  const int tasks = tasks_for(outputs(), kForwardRows);
  program.parallel_for([tasks](const BatchContext&) { return tasks; },
                       [this](const BatchContext& batch, int task, int) noexcept { output_rows(batch, task); });
  program.for_each_block([this](const BlockContext& block) noexcept {
    scatter_rows(block, kY, block.view(output_->activation).data, outputs());
  });
}

void BatchLinearOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept { gather_gradients(block); });
  const int weight_tasks = tasks_for(outputs(), kBackwardRows), input_tasks = tasks_for(inputs(), kBackwardRows);
  program.parallel_for(
      [=, this](const BatchContext& batch) { return weight_tasks + (input().needs_gradient(batch) ? input_tasks : 0); },
      [=, this](const BatchContext& batch, int task, int thread) noexcept {
        if (task >= weight_tasks) return input_gradient_rows(batch, task - weight_tasks);
        const ScopedTimer timer(batch, thread, time_category(index(), Pass::kWeightGradients));
        weight_gradient_rows(batch, task);
      });
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!input().needs_gradient(block.batch)) return;
    write_gradient(block, input(), offsets_.temporary,
                   [&](View target) { scatter_rows(block, kGradientX, target.data, inputs()); });
  });
}

}  // namespace mnistcnn::engine::lanes
