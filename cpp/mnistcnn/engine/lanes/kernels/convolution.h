#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Direct convolution: the sums of a tile of kOut output channels x kColumns adjacent columns stay in registers during
// the loop over channels and kernel positions. Weights are broadcast; images fill the lanes. The order of the additions
// is (input channel, kernel row, kernel column) for every tile shape, so results do not depend on the tiles. Loops
// use arguments in local variables, because the compiler loads others from memory again after each barrier. Called by
// conv/direct_convolution.
namespace mnistcnn::engine::lanes {
namespace {

// Maximum number of accumulators of a tile; the other registers hold operands.
constexpr int kMaxAccumulators = kRegisters == 32 ? kMaxTileSums : 12;
constexpr int registers_of(int a, int b) { return a * b + (a < b ? a : b) + 1; }
constexpr bool fits(int a, int b) { return a * b <= kMaxAccumulators && registers_of(a, b) <= kRegisters; }

template <int kOut, int kColumns>
struct Accumulators {
  vf sum[kOut][kColumns];

  LANES_INLINE void start(const ConvolutionArguments& args, int part) {
    if (args.prefetch_outputs) {
#pragma GCC unroll 32
      for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 32
        for (int j = 0; j < kColumns; ++j)
          __builtin_prefetch(args.y + o * args.y_plane + j * args.y_step + part * kWidth, 1);
    }
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      const vf bias = args.bias ? splat(args.bias[o]) : vf{};
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j)
        sum[o][j] = args.accumulate ? load(args.y + o * args.y_plane + j * args.y_step + part * kWidth) : bias;
    }
  }

  LANES_INLINE void finish(const ConvolutionArguments& args, int part) const {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) store(args.y + o * args.y_plane + j * args.y_step + part * kWidth, sum[o][j]);
  }

  // Add one kernel position, for the columns [kFirst, kEnd), whose inputs are inside the map.
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

// Any kernel size, stride and dilation.
template <int kOut, int kColumns>
void convolve(const ConvolutionArguments& args) {
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(args, part);
    const float* plane = args.x + part * kWidth;
    const float* weights = args.w;
    for (int c = 0; c < args.channels;
         ++c, plane += args.x_plane, weights += args.kernel_rows * args.kernel_columns * kOut)
      for (int row = args.first_row; row < args.end_row; ++row) {
        const float* x = plane + row * args.x_row;
        const float* w = weights + row * args.kernel_columns * kOut;
        for (int column = args.first_column; column < args.end_column; ++column)
          tile.template add<0, kColumns>(x + args.column_offsets[column], args.x_step, w + column * kOut);
      }
    tile.finish(args, part);
  }
}

// 1 x 1 kernels.
template <int kOut, int kColumns>
void convolve1(const ConvolutionArguments& args) {
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(args, part);
    const float* x = args.x + part * kWidth;
    const float* w = args.w;
    const std::int64_t x_plane = args.x_plane;
    const int channels = args.first_row < args.end_row ? args.channels : 0;  // 0: the row is outside the map
    for (int c = 0; c < channels; ++c, x += x_plane, w += kOut) {
      tile.template add<0, kColumns>(x, kLanes, w);
      asm volatile("" ::: "memory");
    }
    tile.finish(args, part);
  }
}

// Kernels of width 3, without stride or dilation along the row. The first kLeft and the last kRight of the kColumns + 2
// input columns are outside the map; they are neither loaded nor multiplied.
template <int kOut, int kColumns, int kLeft, int kRight>
void convolve3(const ConvolutionArguments& args) {
  constexpr auto low = [](int k) { return kLeft > k ? kLeft - k : 0; };
  constexpr auto high = [](int k) {
    const int end = kColumns + 2 - kRight - k;
    return end < kColumns ? (end < 0 ? 0 : end) : kColumns;
  };
  for (int part = 0; part < kParts; ++part) {
    Accumulators<kOut, kColumns> tile;
    tile.start(args, part);
    const std::int64_t x_row = args.x_row, x_plane = args.x_plane;
    const int rows = args.end_row - args.first_row, weights = args.kernel_rows * 3 * kOut;
    const float* plane = args.x + part * kWidth + args.first_row * x_row;
    const float* first_weight = args.w + args.first_row * 3 * kOut;
    for (int c = args.channels; c > 0; --c, plane += x_plane, first_weight += weights) {
      const float *x = plane, *w = first_weight;
      for (int row = rows; row > 0; --row, x += x_row, w += 3 * kOut) {
        // The barriers prevent the compiler from loading the next position early and spilling accumulators.
        tile.template add<low(0), high(0)>(x, kLanes, w);
        asm volatile("" ::: "memory");
        tile.template add<low(1), high(1)>(x + kLanes, kLanes, w + kOut);
        asm volatile("" ::: "memory");
        tile.template add<low(2), high(2)>(x + 2 * kLanes, kLanes, w + 2 * kOut);
        asm volatile("" ::: "memory");
      }
    }
    tile.finish(args, part);
  }
}

// One register stays free. With all 16, GCC keeps a sum in memory: 57 instead of 100 GFLOP/s for 4 x 3 sums on Zen 3.
template <int kOut, int kColumns>
void fill_convolution(KernelTable& table) {
  if constexpr (fits(kOut, kColumns) && registers_of(kOut, kColumns) < kRegisters) {
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
void fill_convolutions(KernelTable& table) {
  ((fill_convolution<kOut, 1>(table), fill_convolution<kOut, 2>(table), fill_convolution<kOut, 3>(table),
    fill_convolution<kOut, 4>(table), fill_convolution<kOut, 5>(table), fill_convolution<kOut, 6>(table),
    fill_convolution<kOut, 7>(table), fill_convolution<kOut, 8>(table)),
   ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
