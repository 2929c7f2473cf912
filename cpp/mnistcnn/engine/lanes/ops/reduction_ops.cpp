#include "mnistcnn/engine/lanes/ops/reduction_ops.h"

#include <algorithm>
#include <utility>

namespace mnistcnn::engine::lanes {
// ---- pooling

PoolWindows pool_windows(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding, std::int64_t dilation, bool count_padding) {
  PoolWindows windows;
  windows.step = static_cast<int>(dilation);
  for (std::int64_t i = 0; i < outputs; ++i) {
    const std::int64_t begin = i * stride - padding,
                       end = std::min(begin + (kernel - 1) * dilation + 1, inputs + padding);
    std::int64_t first = begin;
    while (first < 0) first += dilation;
    const std::int64_t last = std::min(end, inputs);
    const std::int64_t count = last > first ? (last - first + dilation - 1) / dilation : 0;
    windows.start.push_back(static_cast<std::int32_t>(first));
    windows.count.push_back(static_cast<std::int32_t>(count));
    windows.covered.push_back(count_padding ? end - begin : count);
  }
  return windows;
}

PoolWindows adaptive_windows(std::int64_t inputs, std::int64_t outputs) {
  PoolWindows windows;
  for (std::int64_t i = 0; i < outputs; ++i) {
    const std::int64_t begin = i * inputs / outputs, end = ((i + 1) * inputs + outputs - 1) / outputs;
    windows.start.push_back(static_cast<std::int32_t>(begin));
    windows.count.push_back(static_cast<std::int32_t>(end - begin));
    windows.covered.push_back(end - begin);
  }
  return windows;
}

bool is_two_by_two(const network::MaxPool2d& pool, const Extent& in) {
  const network::Pair two{2, 2}, one{1, 1}, none{0, 0};
  const bool whole = !pool.ceil_mode || (in.rows % 2 == 0 && in.columns % 2 == 0);
  return pool.kernel == two && pool.stride == two && pool.padding == none && pool.dilation == one && whole;
}

PoolOp::PoolOp(Input input, Tensor* output, Pooling pooling, PoolWindows rows, PoolWindows columns)
    : Op({input}), output_(output), pooling_(pooling), rows_(std::move(rows)), columns_(std::move(columns)) {
  if (pooling_ != Pooling::kAverage) return;
  for (const std::int64_t height : rows_.covered)
    for (const std::int64_t width : columns_.covered) divisors_.push_back(static_cast<float>(height * width));
}

MemoryRequirements PoolOp::memory_requirements() const {
  MemoryRequirements required;
  required.temporary = input().tensor->extent.elements() * kLanes;
  return required;
}

PoolArguments PoolOp::arguments(const BlockContext& block) const {
  const auto axis = [](const PoolWindows& windows, std::int64_t inputs) {
    return PoolAxis{windows.start.data(), windows.count.data(), static_cast<int>(windows.start.size()),
                    static_cast<int>(inputs), windows.step};
  };
  const Extent& in = input().tensor->extent;
  PoolArguments args{};
  args.x = block.view(input().tensor->activation).data;
  args.channels = static_cast<int>(in.channels);
  args.rows = axis(rows_, in.rows);
  args.columns = axis(columns_, in.columns);
  args.divisor = divisors_.data();
  return args;
}

PoolKernel PoolOp::backward_kernel(const KernelTable& kernels) const {
  switch (pooling_) {
    case Pooling::kMaximum:
      return kernels.max_pool_backward;
    case Pooling::kAverage:
      return kernels.average_pool_backward;
    case Pooling::kAmax:
      break;
  }
  return kernels.amax_backward;
}

void PoolOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    PoolArguments args = arguments(block);
    args.out = block.view(output_->activation).data;
    (pooling_ == Pooling::kAverage ? block.batch.kernels->average_pool_forward
                                   : block.batch.kernels->max_pool_forward)(args);
  });
}

void PoolOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!input().needs_gradient(block.batch)) return;
    write_gradient(block, input(), offsets_.temporary, [&](View target) {
      PoolArguments args = arguments(block);
      args.gradient = block.view(output_->gradient).data;
      args.out = target.data;
      std::fill_n(target.data, input().tensor->extent.elements() * kLanes, 0.0f);
      backward_kernel (*block.batch.kernels)(args);
    });
  });
}

// ---- normalization

NormOp::NormOp(Input input, Tensor* output, Layout layout) : Op({input}), output_(output), layout_(layout) {
  weight_gradient_ = {layout_.weight, layout_.weight >= 0 ? layout_.weights : 0, 0};
  bias_gradient_ = {layout_.bias, layout_.bias >= 0 ? layout_.weights : 0, 0};
}

MemoryRequirements NormOp::memory_requirements() const {
  MemoryRequirements required;
  required.temporary = (input().tensor->extent.elements() + 2 * layout_.weights) * kLanes;
  return required;
}

std::vector<PartialGradient*> NormOp::partial_gradients() {
  std::vector<PartialGradient*> gradients;
  if (layout_.weight >= 0) gradients.push_back(&weight_gradient_);
  if (layout_.bias >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

NormArguments NormOp::arguments(const BlockContext& block) const {
  NormArguments args{};
  args.x = block.view(input().tensor->activation).data;
  args.groups = static_cast<int>(layout_.groups);
  args.length = input().tensor->extent.elements() / layout_.groups;
  args.weight = layout_.weight >= 0 ? block.batch.parameters[static_cast<std::size_t>(layout_.weight)] : nullptr;
  args.bias = layout_.bias >= 0 ? block.batch.parameters[static_cast<std::size_t>(layout_.bias)] : nullptr;
  args.weight_divisor = layout_.weight_divisor;
  args.weight_modulus = layout_.weight_modulus;
  args.eps = static_cast<float>(layout_.eps);
  return args;
}

void NormOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    NormArguments args = arguments(block);
    args.out = block.view(output_->activation).data;
    block.batch.kernels->norm_forward(args);
  });
}

void NormOp::backward(const BlockContext& block) const {
  float* const sums = block.thread_memory(offsets_.temporary) + input().tensor->extent.elements() * kLanes;
  std::fill_n(sums, 2 * layout_.weights * kLanes, 0.0f);
  write_gradient(block, input(), offsets_.temporary, [&](View target) {
    NormArguments args = arguments(block);
    args.gradient = block.view(output_->gradient).data;
    args.out = target.data;
    args.weight_sum = layout_.weight >= 0 ? sums : nullptr;
    args.bias_sum = layout_.bias >= 0 ? sums + layout_.weights * kLanes : nullptr;
    block.batch.kernels->norm_backward(args);
  });
  const auto finish = [&](const PartialGradient& gradient, const float* from) {
    float* const partial = block.partial(gradient.partial);
    for (std::int64_t i = 0; i < gradient.count; ++i) {
      double sum = block.accumulates_partial() ? partial[i] : 0;
      for (int image = 0; image < block.images(); ++image) sum += from[i * kLanes + image];
      partial[i] = static_cast<float>(sum);
    }
  };
  finish(weight_gradient_, sums);
  finish(bias_gradient_, sums + layout_.weights * kLanes);
}

void NormOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept { backward(block); });
}

// ---- softmax

MemoryRequirements SoftmaxOp::memory_requirements() const {
  MemoryRequirements required;
  required.temporary = input().tensor->extent.elements() * kLanes;
  return required;
}

SoftmaxArguments SoftmaxOp::arguments() const {
  const Extent& extent = input().tensor->extent;
  SoftmaxArguments args{};
  args.classes = static_cast<int>(extent.channels);
  args.positions = static_cast<int>(extent.positions());
  args.class_step = extent.positions() * kLanes;
  return args;
}

void SoftmaxOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    SoftmaxArguments args = arguments();
    args.x = block.view(input().tensor->activation).data;
    args.out = block.view(output_->activation).data;
    (logarithm_ ? block.batch.kernels->log_softmax_forward : block.batch.kernels->softmax_forward)(args);
  });
}

void SoftmaxOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!input().needs_gradient(block.batch)) return;
    write_gradient(block, input(), offsets_.temporary, [&](View target) {
      SoftmaxArguments args = arguments();
      args.x = block.view(output_->activation).data;
      args.gradient = block.view(output_->gradient).data;
      args.out = target.data;
      (logarithm_ ? block.batch.kernels->log_softmax_backward : block.batch.kernels->softmax_backward)(args);
    });
  });
}

}  // namespace mnistcnn::engine::lanes
