#include "mnistcnn/engine/lanes/conv/winograd_2d_batch.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kRowsPerTask = 144;  // of a product, a multiple of the register tiles' rows

// Return the tiles that need fewer multiplications.
Tiling2d tiling_of(const Convolution3x3& convolution) {
  const Tiling2d small(convolution, kTile3x3), large(convolution, kTile4x4);
  return small.tiles() * small.points() < large.tiles() * large.points() ? small : large;
}

}  // namespace

BatchWinograd2d::BatchWinograd2d(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      tiling_(tiling_of(convolution)),
      output_ranges_(split_evenly(integer(convolution.out.channels), kRowsPerTask)),
      input_ranges_(split_evenly(integer(convolution.in.channels), kRowsPerTask)) {
  const int channels = integer(convolution.in.channels);
  for (int first = 0; first < channels; first += kMaxSumChannels)
    sum_ranges_.push_back({first, std::min(kMaxSumChannels, channels - first)});
}

Winograd2dDomain BatchWinograd2d::domain(Which which, std::int64_t blocks) const {
  return {tiling_.points(), which == kOutputs ? convolution_.out.channels : convolution_.in.channels,
          blocks * tiling_.tiles()};
}

std::int64_t BatchWinograd2d::batch_size() const {
  return domain(kInputs, 1).size() + domain(kOutputs, 1).size() + domain(kInputGradients, 1).size();
}

float* BatchWinograd2d::domain_memory(const Memory& memory, Which which) const {
  std::int64_t offset = 0;
  for (int i = 0; i < which; ++i) offset += domain(static_cast<Which>(i), 1).size();
  return memory.domains + offset * memory.capacity;
}

std::int64_t BatchWinograd2d::workspace_size() const { return kSumScratch; }

void BatchWinograd2d::pack(int task, const float* weights, float* packed) const {
  Winograd2dWeightArguments args{};
  args.weights = weights + task * convolution_.in.channels * 9;
  args.kernel_stride = 9;
  args.count = integer(convolution_.in.channels);
  args.out = packed + task * row();
  args.point_stride = point_weights();
  transforms().weights(args);
}

Winograd2dArguments BatchWinograd2d::arguments(const Memory& memory, int block, Which which, View map) const {
  const TileGroup2d whole_map{0, 0, tiling_.rows, tiling_.columns};
  Winograd2dArguments args =
      transform_arguments(map, which == kOutputs ? convolution_.out : convolution_.in, whole_map,
                          domain(which, memory.blocks), domain_memory(memory, which), block * tiling_.tiles());
  if (which == kOutputs) return args;
  args.top = convolution_.top;
  args.left = convolution_.left;
  return args;
}

void BatchWinograd2d::transform_inputs(const Memory& memory, int block, View x) const {
  transforms().inputs(arguments(memory, block, kInputs, x));
}

void BatchWinograd2d::transform_gradients(const Memory& memory, int block, View d) const {
  transforms().gradients(arguments(memory, block, kOutputs, d));
}

void BatchWinograd2d::write_outputs(const Memory& memory, int block, const float* bias, View y) const {
  Winograd2dArguments args = arguments(memory, block, kOutputs, y);
  args.bias = bias;
  transforms().outputs(args);
}

void BatchWinograd2d::write_input_gradients(const Memory& memory, int block, View x_gradient) const {
  transforms().input_gradients(arguments(memory, block, kInputGradients, x_gradient));
}

void BatchWinograd2d::multiply_outputs(const Memory& memory, int task) const {
  const int ranges = static_cast<int>(output_ranges_.size()), point = task / ranges;
  const Winograd2dDomain in = domain(kInputs, memory.blocks), out = domain(kOutputs, memory.blocks);
  multiply_in_domain(*kernels_, point, {memory.packed + point * point_weights(), row(), 1},
                     output_ranges_[static_cast<std::size_t>(task % ranges)], in, domain_memory(memory, kInputs), out,
                     domain_memory(memory, kOutputs));
}

void BatchWinograd2d::multiply_input_gradients(const Memory& memory, int task) const {
  const int ranges = static_cast<int>(input_ranges_.size()), point = task / ranges;
  const Winograd2dDomain from = domain(kOutputs, memory.blocks), to = domain(kInputGradients, memory.blocks);
  multiply_in_domain(*kernels_, point, {memory.packed + point * point_weights(), 1, row()},
                     input_ranges_[static_cast<std::size_t>(task % ranges)], from, domain_memory(memory, kOutputs), to,
                     domain_memory(memory, kInputGradients));
}

void BatchWinograd2d::sum_weight_gradients(const Memory& memory, int task, float* workspace) const {
  const int ranges = static_cast<int>(sum_ranges_.size()), point = task / ranges;
  const Winograd2dDomain in = domain(kInputs, memory.blocks), out = domain(kOutputs, memory.blocks);
  float* const sums = memory.packed + (tiling_.points() + point) * point_weights();
  sum_with_transpose(*kernels_, point, out, domain_memory(memory, kOutputs), in, domain_memory(memory, kInputs),
                     sum_ranges_[static_cast<std::size_t>(task % ranges)], {sums, row(), false}, workspace);
}

void BatchWinograd2d::write_weight_gradients(const Memory& memory, int task, float* gradient) const {
  const std::int64_t channels = convolution_.in.channels;
  const float* const sums = memory.packed + tiling_.points() * point_weights() + task * row();
  transforms().weight_gradients(sums, point_weights(), channels, gradient + task * channels * 9, false);
}

}  // namespace mnistcnn::engine::lanes
