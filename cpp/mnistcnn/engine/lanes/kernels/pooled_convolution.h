#pragma once
#include "mnistcnn/engine/lanes/kernels/convolution.h"
#include "mnistcnn/engine/lanes/kernels/pointwise.h"

// Convolution, ReLU (optional), 2x2 max pool and dropout (optional) in one pass: the outputs of the convolution stay in
// registers. The position of the maximum of each window is stored, in a byte per image, so the backward pass does not
// need these outputs. Additions are in the same order as in kernels/convolution.h, so the results are the same as those
// of the separate kernels, except for infinite weights at the padding. Called by conv/pooled_convolution.
namespace mnistcnn::engine::lanes {
namespace {

// Whether the sums of a window fit the registers. One register stays free, as in fill_convolution.
constexpr bool fits_window(int outputs) { return kWindowPositions * outputs + kWindowPositions + 1 < kRegisters; }

template <int kOut>
struct WindowSums {
  vf sum[kOut][kWindowPositions];

  LANES_INLINE explicit WindowSums(const float* bias) {
#pragma GCC unroll 8
    for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 4
      for (int i = 0; i < kWindowPositions; ++i) sum[o][i] = bias ? splat(bias[o]) : vf{};
  }

  // Add one kernel position. x: the inputs of the first position of the window.
  LANES_INLINE void add(const float* x, std::int64_t next_row, std::int64_t next_column, const float* w) {
    vf image[kWindowPositions];
#pragma GCC unroll 4
    for (int i = 0; i < kWindowPositions; ++i) {
      image[i] = load(x + i / 2 * next_row + i % 2 * next_column);
      keep(image[i]);
    }
#pragma GCC unroll 8
    for (int o = 0; o < kOut; ++o) {
      const vf weight = splat(w[o]);
#pragma GCC unroll 4
      for (int i = 0; i < kWindowPositions; ++i) sum[o][i] = multiply_add(weight, image[i], sum[o][i]);
    }
  }
};

// kIsWidth3: three adjacent kernel columns, without stride.
template <int kOut, bool kIsWidth3>
LANES_INLINE void add_kernel_positions(const PooledConvolutionArguments& args, const float* plane,
                                       WindowSums<kOut>& sums) {
  const std::int64_t x_plane = args.x_plane, x_row = args.x_row, next_row = args.next_row;
  const std::int64_t next_column = kIsWidth3 ? kLanes : args.next_column;
  const int rows = args.kernel_rows, columns = args.kernel_columns;
  const std::int32_t* const offsets = args.column_offsets;
  const float* w = args.w;
  for (int c = args.channels; c > 0; --c, plane += x_plane) {
    const float* x = plane;
    for (int row = rows; row > 0; --row, x += x_row) {
      const auto add = [&](std::int64_t offset) __attribute__((always_inline)) {
        sums.add(x + offset, next_row, next_column, w);
        w += kOut;
        asm volatile("" ::: "memory");
      };
      if constexpr (kIsWidth3) {
#pragma GCC unroll 3
        for (int column = 0; column < 3; ++column) add(column * kLanes);
      } else {
        for (int column = 0; column < columns; ++column) add(offsets[column]);
      }
    }
  }
}

template <int kOut, bool kRelu, bool kIsWidth3>
void convolve_pool(const PooledConvolutionArguments& args) {
  const vf keep_scale = splat(args.keep_scale);
  for (int window = 0; window < args.windows; ++window)
    for (int part = 0; part < kParts; ++part) {
      WindowSums<kOut> sums(args.bias);
      const std::int64_t at = window * kLanes + part * kWidth;
      add_kernel_positions<kOut, kIsWidth3>(args, args.x + 2 * window * args.next_column + part * kWidth, sums);
#pragma GCC unroll 8
      for (int o = 0; o < kOut; ++o) {
        const vf(&v)[kWindowPositions] = sums.sum[o];
        const auto [maximum, position] = maximum_of<kRelu>(v);
        store_bytes(args.positions + o * args.positions_plane + at, position);
        vf result = kRelu ? larger(vf{}, maximum) : maximum;
        if (args.mask != nullptr) result = drop(result, args.mask[o * args.mask_plane + window], part, keep_scale);
        store(args.out + o * args.out_plane + at, result);
      }
    }
}

template <int... kOut>
void fill_pooled_convolutions(KernelTable& table) {
  const auto one = [&]<int kOutputs>() {
    if constexpr (fits_window(kOutputs)) {
      auto& kernels = table.convolve_pool[kOutputs];
      kernels[0][0] = convolve_pool<kOutputs, false, false>;
      kernels[0][1] = convolve_pool<kOutputs, false, true>;
      kernels[1][0] = convolve_pool<kOutputs, true, false>;
      kernels[1][1] = convolve_pool<kOutputs, true, true>;
    }
  };
  (one.template operator()<kOut>(), ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
