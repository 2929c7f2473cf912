#include "mnistcnn/engine/lanes/ops/pool_op.h"

namespace mnistcnn::engine::lanes {

PoolWindows pool_windows(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding, std::int64_t dilation, bool count_border) {
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
    windows.covered.push_back(count_border ? end - begin : count);
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

PoolOp::PoolOp(Input input, Value* output, Pooling pooling, PoolWindows rows, PoolWindows columns)
    : Op({input}), output_(output), pooling_(pooling), rows_(std::move(rows)), columns_(std::move(columns)) {
  if (pooling_ != Pooling::kAverage) return;
  for (const std::int64_t height : rows_.covered)
    for (const std::int64_t width : columns_.covered) divisors_.push_back(static_cast<float>(height * width));
}

Needs PoolOp::needs() const {
  Needs needs;
  needs.temporary = input().value->extent.elements() * kLanes;
  return needs;
}

PoolTile PoolOp::tile(const BlockRun& at) const {
  const auto axis = [](const PoolWindows& windows, std::int64_t inputs) {
    return PoolAxis{windows.start.data(), windows.count.data(), static_cast<int>(windows.start.size()),
                    static_cast<int>(inputs), windows.step};
  };
  const Extent& in = input().value->extent;
  PoolTile t{};
  t.x = at.view(input().value->activation).data;
  t.channels = static_cast<int>(in.channels);
  t.rows = axis(rows_, in.rows);
  t.columns = axis(columns_, in.columns);
  t.divisor = divisors_.data();
  return t;
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
  program.blocks([this](const BlockRun& at) {
    PoolTile t = tile(at);
    t.out = at.view(output_->activation).data;
    (pooling_ == Pooling::kAverage ? at.run.kernels->average_pool_forward : at.run.kernels->max_pool_forward)(t);
  });
}

void PoolOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    if (!input().wants_gradient(at.run)) return;
    give_gradient(at, input(), places_.temporary, [&](View target) {
      PoolTile t = tile(at);
      t.gradient = at.view(output_->gradient).data;
      t.out = target.data;
      std::fill_n(target.data, input().value->extent.elements() * kLanes, 0.0f);
      backward_kernel (*at.run.kernels)(t);
    });
  });
}

}  // namespace mnistcnn::engine::lanes
