#include "mnistcnn/engine/lanes/conv/winograd_2d_batch.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kRowsPerTask = 144;  // of a product, a multiple of the register tiles' rows

struct PointTask {
  int point;
  IndexRange channels;
};

// Return what a task computes. There is one task per point and range of channels.
PointTask task_of(int task, const std::vector<IndexRange>& ranges) {
  const int count = static_cast<int>(ranges.size());
  return {task / count, ranges[to_size(task % count)]};
}

}  // namespace

BatchWinograd2d::BatchWinograd2d(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      tiling_(convolution),
      groups_(tiling_.groups()),
      output_ranges_(split_evenly(integer(convolution.out.channels), kRowsPerTask)),
      input_ranges_(split_evenly(integer(convolution.in.channels), kRowsPerTask)) {
  const int channels = integer(convolution.in.channels);
  for (int first = 0; first < channels; first += kMaxSumChannels)
    sum_ranges_.push_back({first, std::min(kMaxSumChannels, channels - first)});
}

Winograd2dDomain BatchWinograd2d::domain(Which which, const TileGroup2d& group, std::int64_t blocks) const {
  return {group.points(), which == kOutputs ? convolution_.out.channels : convolution_.in.channels,
          blocks * group.tiles()};
}

std::int64_t BatchWinograd2d::domain_size(Which which) const {
  std::int64_t size = 0;
  for (const TileGroup2d& group : groups_) size += domain(which, group, 1).size();
  return size;
}

std::int64_t BatchWinograd2d::batch_size() const {
  return domain_size(kInputs) + domain_size(kOutputs) + domain_size(kInputGradients);
}

float* BatchWinograd2d::domain_memory(const Memory& memory, Which which, int group) const {
  std::int64_t offset = 0;
  for (int i = 0; i < which; ++i) offset += domain_size(static_cast<Which>(i));
  for (int i = 0; i < group; ++i) offset += domain(which, groups_[to_size(i)], 1).size();
  return memory.domains + offset * memory.capacity;
}

std::int64_t BatchWinograd2d::workspace_size() const { return kSumScratch; }

void BatchWinograd2d::pack(int task, const float* weights, float* packed) const {
  Winograd2dWeightArguments args{};
  args.weights = weights + task * convolution_.in.channels * 9;
  args.kernel_stride = 9;
  args.count = integer(convolution_.in.channels);
  args.row_points = tiling_.row_points();
  args.column_points = tiling_.column_points();
  args.out = packed + task * row();
  args.point_stride = point_weights();
  kernels_->winograd_2d.weights(args);
}

Winograd2dArguments BatchWinograd2d::arguments(const Memory& memory, int block, Which which, int group,
                                               View map) const {
  const TileGroup2d& tiles = groups_[to_size(group)];
  const Winograd2dDomain layout = domain(which, tiles, memory.blocks);
  float* const data = domain_memory(memory, which, group);
  const std::int64_t first_tile = static_cast<std::int64_t>(block) * tiles.tiles();
  return which == kOutputs ? transform_arguments(map, convolution_.out, tiles, layout, data, first_tile)
                           : input_transform_arguments(map, convolution_, tiles, layout, data, first_tile);
}

void BatchWinograd2d::transform_inputs(const Memory& memory, int block, View x) const {
  for (int i = 0; i < groups(); ++i) kernels_->winograd_2d.inputs(arguments(memory, block, kInputs, i, x));
}

void BatchWinograd2d::transform_gradients(const Memory& memory, int block, View d) const {
  for (int i = 0; i < groups(); ++i) kernels_->winograd_2d.gradients(arguments(memory, block, kOutputs, i, d));
}

void BatchWinograd2d::write_outputs(const Memory& memory, int block, const float* bias, View y) const {
  for (int i = 0; i < groups(); ++i) {
    Winograd2dArguments args = arguments(memory, block, kOutputs, i, y);
    args.bias = bias;
    kernels_->winograd_2d.outputs(args);
  }
}

void BatchWinograd2d::write_input_gradients(const Memory& memory, int block, View x_gradient) const {
  for (int i = 0; i < groups(); ++i)
    kernels_->winograd_2d.input_gradients(arguments(memory, block, kInputGradients, i, x_gradient));
}

void BatchWinograd2d::multiply(const Memory& memory, int point, const DomainWeights& weights, IndexRange rows,
                               Which from, Which to) const {
  for (int i = 0; i < groups(); ++i) {
    const TileGroup2d& group = groups_[to_size(i)];
    const int own = tiling_.point_in_group(point, group);
    if (own >= 0)
      multiply_in_domain(*kernels_, own, weights, rows, domain(from, group, memory.blocks),
                         domain_memory(memory, from, i), domain(to, group, memory.blocks),
                         domain_memory(memory, to, i));
  }
}

void BatchWinograd2d::multiply_outputs(const Memory& memory, int task) const {
  const auto [point, range] = task_of(task, output_ranges_);
  multiply(memory, point, {memory.packed + point * point_weights(), row(), 1}, range, kInputs, kOutputs);
}

void BatchWinograd2d::multiply_input_gradients(const Memory& memory, int task) const {
  const auto [point, range] = task_of(task, input_ranges_);
  multiply(memory, point, {memory.packed + point * point_weights(), 1, row()}, range, kOutputs, kInputGradients);
}

void BatchWinograd2d::sum_weight_gradients(const Memory& memory, int task, float* workspace) const {
  const auto [point, range] = task_of(task, sum_ranges_);
  float* const sums = memory.packed + (tiling_.points() + point) * point_weights();
  for (int i = 0; i < groups(); ++i) {
    const TileGroup2d& group = groups_[to_size(i)];
    const int own = tiling_.point_in_group(point, group);
    if (own >= 0)
      sum_with_transpose(*kernels_, own, domain(kOutputs, group, memory.blocks), domain_memory(memory, kOutputs, i),
                         domain(kInputs, group, memory.blocks), domain_memory(memory, kInputs, i), range,
                         {sums, row(), i > 0}, workspace);  // the first group has all points
  }
}

void BatchWinograd2d::write_weight_gradients(const Memory& memory, int task, float* gradient) const {
  const std::int64_t channels = convolution_.in.channels;
  Winograd2dSumArguments args{};
  args.sums = memory.packed + tiling_.points() * point_weights() + task * row();
  args.point_stride = point_weights();
  args.count = channels;
  args.row_points = tiling_.row_points();
  args.column_points = tiling_.column_points();
  args.out = gradient + task * channels * 9;
  kernels_->winograd_2d.weight_gradients(args);
}

}  // namespace mnistcnn::engine::lanes
