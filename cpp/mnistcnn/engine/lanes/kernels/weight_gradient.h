#pragma once
#include "mnistcnn/engine/lanes/kernels/convolution.h"
#include "mnistcnn/engine/lanes/kernels/lane_sums.h"

// Weight gradients: the sums of a tile of kOut output channels x kTaps taps (input channel, kernel position) stay in
// registers over a whole map, or over some of its rows. The 16 images are summed once at the end. Called by
// conv/direct_weight_gradient and the Winograd weight gradients.
namespace mnistcnn::engine::lanes {
namespace {

// Add one position of the map. The operand with fewer registers is loaded first and kept.
template <int kOut, int kTaps>
LANES_INLINE void add_position(const float* d, std::int64_t d_plane, const float* const (&taps)[kTaps],
                               std::int64_t position, vf (&sum)[kOut * kTaps]) {
  if constexpr (kOut <= kTaps) {
    vf gradient[kOut];
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      gradient[o] = load(d + o * d_plane);
      keep(gradient[o]);
    }
#pragma GCC unroll 32
    for (int k = 0; k < kTaps; ++k) {
      vf image = load(taps[k] + position);
      keep(image);
#pragma GCC unroll 32
      for (int o = 0; o < kOut; ++o) sum[o * kTaps + k] = multiply_add(gradient[o], image, sum[o * kTaps + k]);
    }
  } else {
    vf image[kTaps];
#pragma GCC unroll 32
    for (int k = 0; k < kTaps; ++k) {
      image[k] = load(taps[k] + position);
      keep(image[k]);
    }
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      vf gradient = load(d + o * d_plane);
      keep(gradient);
#pragma GCC unroll 32
      for (int k = 0; k < kTaps; ++k) sum[o * kTaps + k] = multiply_add(gradient, image[k], sum[o * kTaps + k]);
    }
  }
}

template <int kOut, int kTaps>
LANES_INLINE void add_rows(const WeightGradientArguments& args, int part, vf (&sum)[kOut * kTaps]) {
  const float* taps[kTaps];
#pragma GCC unroll 32
  for (int k = 0; k < kTaps; ++k) taps[k] = args.x + args.taps[k] + part * kWidth;
  const std::int64_t d_plane = args.d_plane, x_step = args.x_step;
  for (int h = 0; h < args.rows; ++h) {
    const float* d = args.d + h * args.d_row + part * kWidth;
    std::int64_t position = h * args.x_row;
    for (int w = 0; w < args.columns; ++w, d += kLanes, position += x_step)
      add_position<kOut, kTaps>(d, d_plane, taps, position, sum);
  }
}

template <int kOut, int kTaps>
void weight_gradient(const WeightGradientArguments& args) {
  constexpr int kSums = kOut * kTaps, kFours = (kSums + 3) / 4;
  vf groups[kFours][kParts] = {};
  for (int part = 0; part < kParts; ++part) {
    vf sum[kSums];
#pragma GCC unroll 32
    for (int i = 0; i < kSums; ++i) sum[i] = args.is_first ? vf{} : load(args.sums + i * kLanes + part * kWidth);
    add_rows<kOut, kTaps>(args, part, sum);
    if (!args.is_last) {
#pragma GCC unroll 32
      for (int i = 0; i < kSums; ++i) store(args.sums + i * kLanes + part * kWidth, sum[i]);
      continue;
    }
    const auto at = [&](int i) __attribute__((always_inline)) { return i < kSums ? sum[i] : vf{}; };
#pragma GCC unroll 32
    for (int i = 0; i < kFours; ++i)
      groups[i][part] = sum_groups(at(4 * i), at(4 * i + 1), at(4 * i + 2), at(4 * i + 3));
  }
  if (!args.is_last) return;
  float sums[kFours * 4];
#pragma GCC unroll 32
  for (int i = 0; i < kFours; ++i) *reinterpret_cast<v4_unaligned*>(sums + 4 * i) = sum_images(groups[i]);
  for (int o = 0; o < kOut; ++o)
    for (int k = 0; k < kTaps; ++k) {
      float& out = args.out[o * args.out_row + k];
      out = args.accumulate ? out + sums[o * kTaps + k] : sums[o * kTaps + k];
    }
}

template <int kOut, int... kTaps>
void fill_weight_gradient(KernelTable& table) {
  const auto one = [&]<int kTap>() {
    if constexpr (fits(kOut, kTap)) table.weight_gradient[kOut][kTap] = weight_gradient<kOut, kTap>;
  };
  (one.template operator()<kTaps>(), ...);
}

template <int... kOut>
void fill_weight_gradients(KernelTable& table) {
  (fill_weight_gradient<kOut, 1, 2, 3, 4, 5, 6, 7, 8, 9>(table), ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
