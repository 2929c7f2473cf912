#pragma once
#include "mnistcnn/engine/lanes/kernels/chain.h"
#include "mnistcnn/engine/lanes/kernels/lane_sums.h"

// Batch norm's statistics of one block: sums of the deviations from the value in the middle of each image's map, and of
// their squares. However large the mean is, the middle value is near it, so nothing cancels.
namespace mnistcnn::engine::lanes {
namespace {

template <ChainKind kKind>
LANES_INLINE vf normalised_input(vf y, vf slope) {
  if constexpr (kKind == kReluAffine) return larger(vf{}, y);
  if constexpr (kKind == kLeakyAffine) return select(y > 0.0f, y, y * slope);
  return y;
}

// Four sums side by side hide the latency of the additions; their order depends on nothing but the map's size.
template <ChainKind kKind>
void statistics(const StatisticsTile& t) {
  const vf slope = splat(t.slope);
  const int fours = t.positions & ~3;
  for (int c = 0; c < t.channels; ++c)
    for (int part = 0; part < kParts; ++part) {
      const float* y = t.y + c * t.y_plane + part * kWidth;
      const vf centre = normalised_input<kKind>(load(y + t.positions / 2 * kLanes), slope);
      vf residual[4] = {}, squares[4] = {};
      const auto take = [&](int i, int k) __attribute__((always_inline)) {
        const vf d = normalised_input<kKind>(load(y + i * kLanes), slope) - centre;
        residual[k] += d;
        squares[k] = multiply_add(d, d, squares[k]);
      };
      for (int i = 0; i < fours; i += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) take(i + k, k);
      for (int i = fours; i < t.positions; ++i) take(i, 0);
      const std::int64_t at = c * kLanes + part * kWidth;
      store(t.centre + at, centre);
      store(t.residual + at, (residual[0] + residual[1]) + (residual[2] + residual[3]));
      store(t.squares + at, (squares[0] + squares[1]) + (squares[2] + squares[3]));
    }
}

inline void sum_planes(const float* d, std::int64_t plane, std::int64_t row, int planes, int rows, int columns,
                       float* sums) {
  for (int c = 0; c < planes; ++c) {
    vf total[kParts] = {};
    for (int h = 0; h < rows; ++h)
      for (int w = 0; w < columns; ++w)
        for (int part = 0; part < kParts; ++part)
          total[part] += load(d + c * plane + h * row + w * kLanes + part * kWidth);
    sums[c] = sum_images_of_one(total);
  }
}

inline void list_statistics(KernelTable& table) {
  table.statistics[kAffine] = table.statistics[kAffineRelu] = table.statistics[kAffineLeaky] = statistics<kAffine>;
  table.statistics[kReluAffine] = statistics<kReluAffine>;
  table.statistics[kLeakyAffine] = statistics<kLeakyAffine>;
  table.sum_planes = sum_planes;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
