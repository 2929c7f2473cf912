#pragma once

#include "mnistcnn/engine/lanes/kernels/lane_sums.h"
#include "mnistcnn/engine/lanes/kernels/pointwise.h"

// Batch norm statistics of one block: per image, sums of deviations from the value at the middle of the map, and of
// their squares. This shift is close to the mean, so a large mean cancels no digits. Method: Chan, Golub and LeVeque,
// "Algorithms for Computing the Sample Variance", 1983. Called by ops/pointwise_op. Also sums over positions and
// images, for the gradients of biases.
namespace mnistcnn::engine::lanes {
namespace {

template <PointwiseKind kKind>
LANES_INLINE vf affine_input(vf y, vf slope) {
  if constexpr (kKind == kReluAffine) return larger(vf{}, y);
  if constexpr (kKind == kLeakyAffine) return select(y > 0.0f, y, y * slope);
  return y;
}

// Four independent sums hide the latency of the additions. Their order depends only on the size of the map.
template <PointwiseKind kKind>
void statistics(const StatisticsArguments& args) {
  const vf slope = splat(args.slope);
  const int fours = args.positions & ~3;
  for (int c = 0; c < args.channels; ++c)
    for (int part = 0; part < kParts; ++part) {
      const float* y = args.y + c * args.y_plane + part * kWidth;
      const vf centre = affine_input<kKind>(load(y + args.positions / 2 * kLanes), slope);
      vf residual[4] = {}, squares[4] = {};
      const auto add_deviation = [&](int i, int k) __attribute__((always_inline)) {
        const vf d = affine_input<kKind>(load(y + i * kLanes), slope) - centre;
        residual[k] += d;
        squares[k] = multiply_add(d, d, squares[k]);
      };
      for (int i = 0; i < fours; i += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) add_deviation(i + k, k);
      for (int i = fours; i < args.positions; ++i) add_deviation(i, 0);
      const std::int64_t at = c * kLanes + part * kWidth;
      store(args.centre + at, centre);
      store(args.residual + at, (residual[0] + residual[1]) + (residual[2] + residual[3]));
      store(args.squares + at, (squares[0] + squares[1]) + (squares[2] + squares[3]));
    }
}

inline void sum_over_positions(const float* d, std::int64_t plane, std::int64_t row, int planes, int rows, int columns,
                               float* sums) {
  for (int c = 0; c < planes; ++c) {
    vf total[kParts];
    for (int part = 0; part < kParts; ++part) total[part] = load(sums + c * kLanes + part * kWidth);
    for (int h = 0; h < rows; ++h)
      for (int w = 0; w < columns; ++w)
        for (int part = 0; part < kParts; ++part)
          total[part] += load(d + c * plane + h * row + w * kLanes + part * kWidth);
    for (int part = 0; part < kParts; ++part) store(sums + c * kLanes + part * kWidth, total[part]);
  }
}

inline void sum_over_images(const float* values, int count, bool accumulate, float* out) {
  for (int i = 0; i < count; ++i) {
    vf value[kParts];
    for (int part = 0; part < kParts; ++part) value[part] = load(values + i * kLanes + part * kWidth);
    const float sum = sum_images_of_one(value);
    out[i] = accumulate ? out[i] + sum : sum;
  }
}

inline void fill_statistics(KernelTable& table) {
  constexpr PointwiseKind kOfInput[] = {kAffine, kAffineRelu, kAffineLeaky, kAffineSilu};
  for (const PointwiseKind kind : kOfInput) table.statistics[kind] = statistics<kAffine>;
  table.statistics[kReluAffine] = statistics<kReluAffine>;
  table.statistics[kLeakyAffine] = statistics<kLeakyAffine>;
  table.sum_over_positions = sum_over_positions;
  table.sum_over_images = sum_over_images;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
