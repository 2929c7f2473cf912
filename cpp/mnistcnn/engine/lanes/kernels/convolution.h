#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Direct convolution: a tile of kOut output channels x kColumns neighbouring columns stays in registers while channels
// and kernel positions pass by; weights are broadcast, images fill the lanes. The order of the additions is (input
// channel, kernel row, kernel column) for every tile shape, so results don't depend on the tiling.
namespace mnistcnn::engine::lanes {
namespace {

// Accumulators a tile may use, so that operands still fit beside them.
constexpr int kMostAccumulators = kRegisters == 32 ? 28 : 12;
constexpr bool fits(int a, int b) { return a * b <= kMostAccumulators && a * b + (a < b ? a : b) + 1 <= kRegisters; }

template <int kOut, int kColumns>
struct Accumulators {
  vf sum[kOut][kColumns];

  LANES_INLINE void start(const ConvolutionTile& t, int part) {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      const vf bias = t.bias ? splat(t.bias[o]) : vf{};
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j)
        sum[o][j] = t.accumulate ? load(t.y + o * t.y_plane + j * t.y_step + part * kWidth) : bias;
    }
  }

  LANES_INLINE void finish(const ConvolutionTile& t, int part) const {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) store(t.y + o * t.y_plane + j * t.y_step + part * kWidth, sum[o][j]);
  }

  // One kernel position; columns outside [kFirst, kEnd) lie outside the map.
  template <int kFirst, int kEnd>
  LANES_INLINE void add(const float* x, std::int64_t x_step, const float* w) {
    if constexpr (kOut >= kColumns) {
      vf image[kColumns];
#pragma GCC unroll 32
      for (int j = kFirst; j < kEnd; ++j) {
        image[j] = load(x + j * x_step);
        keep(image[j]);
      }
#pragma GCC unroll 32
      for (int o = 0; o < kOut; ++o) {
        const vf weight = splat(w[o]);
#pragma GCC unroll 32
        for (int j = kFirst; j < kEnd; ++j) sum[o][j] = multiply_add(weight, image[j], sum[o][j]);
      }
    } else {
      vf weight[kOut];
#pragma GCC unroll 32
      for (int o = 0; o < kOut; ++o) {
        weight[o] = splat(w[o]);
        keep(weight[o]);
      }
#pragma GCC unroll 32
      for (int j = kFirst; j < kEnd; ++j) {
        vf image = load(x + j * x_step);
        keep(image);
#pragma GCC unroll 32
        for (int o = 0; o < kOut; ++o) sum[o][j] = multiply_add(weight[o], image, sum[o][j]);
      }
    }
  }
};

// Any kernel, stride and dilation.
template <int kOut, int kColumns>
void convolve(const ConvolutionTile& t) {
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(t, part);
    const float* plane = t.x + part * kWidth;
    const float* weights = t.w;
    for (int c = 0; c < t.channels; ++c, plane += t.x_plane, weights += t.kernel_rows * t.kernel_columns * kOut)
      for (int row = t.first_row; row < t.end_row; ++row) {
        const float* x = plane + row * t.x_row;
        const float* w = weights + row * t.kernel_columns * kOut;
        for (int column = t.first_column; column < t.end_column; ++column)
          tile.template add<0, kColumns>(x + t.column_offsets[column], t.x_step, w + column * kOut);
      }
    tile.finish(t, part);
  }
}

// 1 x 1 kernels.
template <int kOut, int kColumns>
void convolve1(const ConvolutionTile& t) {
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(t, part);
    const float* x = t.x + part * kWidth;
    const float* w = t.w;
    const int channels = t.first_row < t.end_row ? t.channels : 0;  // else the row lies outside the map
    for (int c = 0; c < channels; ++c, x += t.x_plane, w += kOut) {
      tile.template add<0, kColumns>(x, kLanes, w);
      asm volatile("" ::: "memory");
    }
    tile.finish(t, part);
  }
}

// Kernels three wide, without stride or dilation along the row. kLeft and kRight of the kColumns + 2 input columns lie
// outside the map: neither loaded nor multiplied.
template <int kOut, int kColumns, int kLeft, int kRight>
void convolve3(const ConvolutionTile& t) {
  constexpr auto low = [](int k) { return kLeft > k ? kLeft - k : 0; };
  constexpr auto high = [](int k) {
    const int end = kColumns + 2 - kRight - k;
    return end < kColumns ? (end < 0 ? 0 : end) : kColumns;
  };
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(t, part);
    const std::int64_t x_row = t.x_row, x_plane = t.x_plane;
    const int rows = t.end_row - t.first_row, weights = t.kernel_rows * 3 * kOut;
    const float* plane = t.x + part * kWidth + t.first_row * x_row;
    const float* first_weight = t.w + t.first_row * 3 * kOut;
    for (int c = t.channels; c > 0; --c, plane += x_plane, first_weight += weights) {
      const float *x = plane, *w = first_weight;
      for (int row = rows; row > 0; --row, x += x_row, w += 3 * kOut) {
        // The barriers stop the compiler from loading the next position's values early and spilling accumulators.
        tile.template add<low(0), high(0)>(x, kLanes, w);
        asm volatile("" ::: "memory");
        tile.template add<low(1), high(1)>(x + kLanes, kLanes, w + kOut);
        asm volatile("" ::: "memory");
        tile.template add<low(2), high(2)>(x + 2 * kLanes, kLanes, w + 2 * kOut);
        asm volatile("" ::: "memory");
      }
    }
    tile.finish(t, part);
  }
}

template <int kOut, int kColumns>
void list_convolution(KernelTable& table) {
  if constexpr (fits(kOut, kColumns)) {
    table.convolve[kOut][kColumns] = convolve<kOut, kColumns>;
    table.convolve1[kOut][kColumns] = convolve1<kOut, kColumns>;
    auto& three = table.convolve3[kOut][kColumns];
    three[0][0] = convolve3<kOut, kColumns, 0, 0>;
    three[0][1] = convolve3<kOut, kColumns, 0, 1>;
    three[1][0] = convolve3<kOut, kColumns, 1, 0>;
    three[1][1] = convolve3<kOut, kColumns, 1, 1>;
    three[0][2] = convolve3<kOut, kColumns, 0, 2>;
    three[2][0] = convolve3<kOut, kColumns, 2, 0>;
    three[2][2] = convolve3<kOut, kColumns, 2, 2>;
  }
}

template <int... kOut>
void list_convolutions(KernelTable& table) {
  ((list_convolution<kOut, 1>(table), list_convolution<kOut, 2>(table), list_convolution<kOut, 3>(table),
    list_convolution<kOut, 4>(table), list_convolution<kOut, 5>(table), list_convolution<kOut, 6>(table),
    list_convolution<kOut, 7>(table), list_convolution<kOut, 8>(table)),
   ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
