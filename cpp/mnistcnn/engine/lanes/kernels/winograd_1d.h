#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_transforms.h"

// 1-D Winograd along the columns of a map, F(4, 3) or F(2, 3): a row tile of four (two) rows of outputs from six (four)
// rows of inputs. Transforms are loops over the columns. In the domain, convolutions with kernels of one row remain;
// the direct convolution kernels compute them, or winograd_1d_fused with its sums in registers. Called by
// conv/winograd_1d.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, https://arxiv.org/abs/1509.09308.
namespace mnistcnn::engine::lanes {
namespace {

// Transform kFrom rows of a map to kTo rows in the domain. Rows outside the map are zero.
template <int kFrom, int kTo, class Transform>
LANES_INLINE void rows_to_domain(const Winograd1dArguments& args, Transform transform) {
  alignas(64) static constexpr float kZeros[kLanes] = {};
  const std::int64_t stride = args.domain_stride;
  const int width = args.before + args.columns + args.after;
  for (int c = 0; c < args.channels; ++c)
    for (int part = 0; part < kParts; ++part) {
      const float* const map = args.map + c * args.map_plane + part * kWidth;
      const float* row[kFrom];
      std::int64_t step[kFrom];
#pragma GCC unroll 6
      for (int i = 0; i < kFrom; ++i) {
        const int at = args.first_row + i;
        const bool inside = at >= 0 && at < args.rows;
        row[i] = inside ? map + at * args.map_row : kZeros + part * kWidth;
        step[i] = inside ? kLanes : 0;
      }
      float* to = args.domain + c * args.domain_channel_stride + part * kWidth;
      const auto zeros = [&](int first, int end) __attribute__((always_inline)) {
        for (int w = first; w < end; ++w)
          for (int i = 0; i < kTo; ++i) store(to + i * stride + w * kLanes, vf{});
      };
      zeros(0, args.before);
      zeros(args.before + args.columns, width);
      to += args.before * kLanes;
      for (int w = 0; w < args.columns; ++w, to += kLanes) {
        vf in[kFrom], v[kTo];
#pragma GCC unroll 6
        for (int i = 0; i < kFrom; ++i) {
          in[i] = load(row[i]);
          keep(in[i]);
          row[i] += step[i];
        }
        transform(in, v);
#pragma GCC unroll 6
        for (int i = 0; i < kTo; ++i) store(to + i * stride, v[i]);
      }
    }
}

template <class Transforms>
void winograd_1d_inputs(const Winograd1dArguments& args) {
  constexpr int kPoints = Transforms::kPoints;
  rows_to_domain<kPoints, kPoints>(
      args, [](const vf(&x)[kPoints], vf(&v)[kPoints]) __attribute__((always_inline)) { Transforms::inputs(x, v); });
}

template <class Transforms>
void winograd_1d_gradients(const Winograd1dArguments& args) {
  constexpr int kPoints = Transforms::kPoints, kOutputs = Transforms::kOutputs;
  rows_to_domain<kOutputs, kPoints>(args, [](const vf(&d)[kOutputs], vf(&v)[kPoints])
                                              __attribute__((always_inline)) { Transforms::gradients(d, v); });
}

template <class Transforms>
void winograd_1d_outputs(const Winograd1dArguments& args) {
  constexpr int kPoints = Transforms::kPoints, kOutputs = Transforms::kOutputs;
  const int rows = args.rows - args.first_row < kOutputs ? args.rows - args.first_row : kOutputs;
  const std::int64_t stride = args.domain_stride, row = args.map_row;
  for (int c = 0; c < args.channels; ++c) {
    const vf bias = splat(args.bias ? args.bias[c] : 0.0f);
    for (int part = 0; part < kParts; ++part) {
      const float* from = args.domain + c * args.domain_channel_stride + part * kWidth;
      float* to = args.map + c * args.map_plane + args.first_row * row + part * kWidth;
      for (int w = 0; w < args.columns; ++w, from += kLanes, to += kLanes) {
        vf m[kPoints], y[kOutputs];
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; ++i) {
          m[i] = load(from + i * stride);
          keep(m[i]);
        }
        Transforms::outputs(m, y);
#pragma GCC unroll 4
        for (int i = 0; i < kOutputs; ++i)
          if (i < rows) store(to + i * row, y[i] + bias);
      }
    }
  }
}

// The sums at all points for kOut output channels x kColumns adjacent columns, in registers from the first product to
// the outputs. The order of the additions is the same as with the domain in memory.
template <class Transforms, int kOut, int kColumns>
struct FusedAccumulators {
  static constexpr int kPoints = Transforms::kPoints, kOutputs = Transforms::kOutputs;
  vf sum[kOut][kColumns][kPoints];

  LANES_INLINE FusedAccumulators() {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j)
#pragma GCC unroll 32
        for (int p = 0; p < kPoints; ++p) sum[o][j][p] = vf{};
  }

  // Add one channel and kernel column.
  LANES_INLINE void add(const float* x, std::int64_t stride, const float* w) {
#pragma GCC unroll 32
    for (int p = 0; p < kPoints; ++p) {
      vf image[kColumns];
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        image[j] = load(x + p * stride + j * kLanes);
        keep(image[j]);
      }
#pragma GCC unroll 32
      for (int o = 0; o < kOut; ++o) {
        const vf weight = splat(w[p * kOut + o]);
#pragma GCC unroll 32
        for (int j = 0; j < kColumns; ++j) sum[o][j][p] = multiply_add(weight, image[j], sum[o][j][p]);
      }
    }
  }

  LANES_INLINE void finish(const Winograd1dFusedArguments& args, int output, float* y) const {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      const vf bias = splat(args.bias ? args.bias[output + o] : 0.0f);
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        vf rows[kOutputs];
        Transforms::outputs(sum[o][j], rows);
#pragma GCC unroll 4
        for (int i = 0; i < kOutputs; ++i)
          if (i < args.rows) store(y + o * args.y_plane + i * args.y_row + j * kLanes, rows[i] + bias);
      }
    }
  }
};

template <class Transforms, int kOut, int kColumns>
LANES_INLINE void fused_tile(const Winograd1dFusedArguments& args, const float* x, const float* w, int output,
                             int column) {
  float* const y = args.y + output * args.y_plane + column * kLanes;
  // Prefetch explicitly: the tile has more output rows than the hardware prefetcher follows.
  for (int o = 0; o < kOut; ++o)
    for (int i = 0; i < args.rows; ++i)
      for (int j = 0; j < kColumns; ++j) __builtin_prefetch(y + o * args.y_plane + i * args.y_row + j * kLanes, 1);
  FusedAccumulators<Transforms, kOut, kColumns> tile;
  const std::int64_t channel_stride = args.domain_channel_stride, stride = args.domain_stride;
  for (int c = args.channels; c > 0; --c, x += channel_stride)
    for (int k = 0; k < 3; ++k, w += Transforms::kPoints * kOut) {
      tile.add(x + k * kLanes, stride, w);
      asm volatile("" ::: "memory");  // prevents early loads for the next position
    }
  tile.finish(args, output, y);
}

template <class Transforms>
void winograd_1d_fused(const Winograd1dFusedArguments& args) {
  const std::int64_t weights = std::int64_t{3} * args.channels * Transforms::kPoints;
  for (int w = 0; w < args.columns; w += 2)
    for (int o = 0; o < args.outputs; o += 2) {
      const float* const x = args.x + w * kLanes;
      if (w + 2 <= args.columns)
        o + 2 <= args.outputs ? fused_tile<Transforms, 2, 2>(args, x, args.w + o * weights, o, w)
                              : fused_tile<Transforms, 1, 2>(args, x, args.w + o * weights, o, w);
      else
        o + 2 <= args.outputs ? fused_tile<Transforms, 2, 1>(args, x, args.w + o * weights, o, w)
                              : fused_tile<Transforms, 1, 1>(args, x, args.w + o * weights, o, w);
    }
}

// Transform sums, f32 [points][count][3], to weight gradients, f32 [count][3][3].
template <class Transforms>
void winograd_1d_weights(const float* sums, std::int64_t count, float* out, bool accumulate) {
  constexpr int kPoints = Transforms::kPoints;
  const std::int64_t size = 3 * count;
  for (std::int64_t first = 0; first < size; first += kWidth) {
    const int valid = static_cast<int>(size - first < kWidth ? size - first : kWidth);
    vf s[kPoints], w[3];
    for (int i = 0; i < kPoints; ++i) {
      s[i] = vf{};
      if (valid == kWidth)
        s[i] = load(sums + i * size + first);
      else
        for (int k = 0; k < valid; ++k) s[i][k] = sums[i * size + first + k];
    }
    Transforms::weights(s, w);
    float rows[3][kWidth];
    for (int i = 0; i < 3; ++i) store(rows[i], w[i]);
    for (int k = 0; k < valid; ++k) {
      float* const to = out + (first + k) / 3 * 9 + (first + k) % 3;
      for (int i = 0; i < 3; ++i) to[3 * i] = accumulate ? to[3 * i] + rows[i][k] : rows[i][k];
    }
  }
}

template <class Transforms>
void fill_winograd_1d_kind(Winograd1dKernels& kernels) {
  kernels.inputs = winograd_1d_inputs<Transforms>;
  kernels.gradients = winograd_1d_gradients<Transforms>;
  kernels.outputs = winograd_1d_outputs<Transforms>;
  kernels.weights = winograd_1d_weights<Transforms>;
  if constexpr (kRegisters == 32 && kParts == 1) kernels.fused = winograd_1d_fused<Transforms>;
}

inline void fill_winograd_1d(KernelTable& table) {
  fill_winograd_1d_kind<F23>(table.winograd_1d[kF23]);
  fill_winograd_1d_kind<F43>(table.winograd_1d[kF43]);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
