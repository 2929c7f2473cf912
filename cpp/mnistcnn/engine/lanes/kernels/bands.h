#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_points.h"

// Winograd's method along the columns of a map only: a band of four (or two) rows of outputs from six (four) rows of
// inputs. Every transform is a loop over the columns; what lies between them are convolutions whose kernels are one row
// high, which other kernels do.
namespace mnistcnn::engine::lanes {
namespace {

// kFrom rows of a map -> kTo rows at the points. Rows outside the map are zeros.
template <int kFrom, int kTo, class Transform>
LANES_INLINE void band_to_points(const BandTile& t, Transform transform) {
  alignas(64) static constexpr float kZeros[kLanes] = {};
  const std::int64_t point = t.point;
  const int width = t.before + t.columns + t.after;
  for (int c = 0; c < t.channels; ++c)
    for (int part = 0; part < kParts; ++part) {
      const float* const map = t.map + c * t.map_plane + part * kWidth;
      const float* row[kFrom];
      std::int64_t step[kFrom];
#pragma GCC unroll 6
      for (int i = 0; i < kFrom; ++i) {
        const int at = t.first_row + i;
        const bool inside = at >= 0 && at < t.rows;
        row[i] = inside ? map + at * t.map_row : kZeros + part * kWidth;
        step[i] = inside ? kLanes : 0;
      }
      float* to = t.points + c * t.point_channel + part * kWidth;
      const auto zeros = [&](int first, int end) __attribute__((always_inline)) {
        for (int w = first; w < end; ++w)
          for (int i = 0; i < kTo; ++i) store(to + i * point + w * kLanes, vf{});
      };
      zeros(0, t.before);
      zeros(t.before + t.columns, width);
      to += t.before * kLanes;
      for (int w = 0; w < t.columns; ++w, to += kLanes) {
        vf in[kFrom], v[kTo];
#pragma GCC unroll 6
        for (int i = 0; i < kFrom; ++i) {
          in[i] = load(row[i]);
          keep(in[i]);
          row[i] += step[i];
        }
        transform(in, v);
#pragma GCC unroll 6
        for (int i = 0; i < kTo; ++i) store(to + i * point, v[i]);
      }
    }
}

template <class Points>
void band_inputs(const BandTile& t) {
  constexpr int kPoints = Points::kPoints;
  band_to_points<kPoints, kPoints>(
      t, [](const vf(&x)[kPoints], vf(&v)[kPoints]) __attribute__((always_inline)) { Points::inputs(x, v); });
}

template <class Points>
void band_gradients(const BandTile& t) {
  constexpr int kPoints = Points::kPoints, kOutputs = Points::kOutputs;
  band_to_points<kOutputs, kPoints>(
      t, [](const vf(&d)[kOutputs], vf(&v)[kPoints]) __attribute__((always_inline)) { Points::gradients(d, v); });
}

template <class Points>
void band_outputs(const BandTile& t) {
  constexpr int kPoints = Points::kPoints, kOutputs = Points::kOutputs;
  const int rows = t.rows - t.first_row < kOutputs ? t.rows - t.first_row : kOutputs;
  const std::int64_t point = t.point, row = t.map_row;
  for (int c = 0; c < t.channels; ++c) {
    const vf bias = splat(t.bias ? t.bias[c] : 0.0f);
    for (int part = 0; part < kParts; ++part) {
      const float* from = t.points + c * t.point_channel + part * kWidth;
      float* to = t.map + c * t.map_plane + t.first_row * row + part * kWidth;
      for (int w = 0; w < t.columns; ++w, from += kLanes, to += kLanes) {
        vf m[kPoints], y[kOutputs];
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; ++i) {
          m[i] = load(from + i * point);
          keep(m[i]);
        }
        Points::outputs(m, y);
#pragma GCC unroll 4
        for (int i = 0; i < kOutputs; ++i)
          if (i < rows) store(to + i * row, y[i] + bias);
      }
    }
  }
}

// The sums at all points of kOut output channels and kColumns neighbouring columns, in registers from the first product
// to the outputs: the same additions in the same order as by way of memory.
template <class Points, int kOut, int kColumns>
struct BandSums {
  static constexpr int kPoints = Points::kPoints, kOutputs = Points::kOutputs;
  vf sum[kOut][kColumns][kPoints];

  LANES_INLINE BandSums() {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j)
#pragma GCC unroll 32
        for (int p = 0; p < kPoints; ++p) sum[o][j][p] = vf{};
  }

  // One channel and kernel column.
  LANES_INLINE void add(const float* x, std::int64_t point, const float* w) {
#pragma GCC unroll 32
    for (int p = 0; p < kPoints; ++p) {
      vf image[kColumns];
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        image[j] = load(x + p * point + j * kLanes);
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

  LANES_INLINE void finish(const BandProduct& t, int output, float* y) const {
#pragma GCC unroll 32
    for (int o = 0; o < kOut; ++o) {
      const vf bias = splat(t.bias ? t.bias[output + o] : 0.0f);
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        vf rows[kOutputs];
        Points::outputs(sum[o][j], rows);
#pragma GCC unroll 4
        for (int i = 0; i < kOutputs; ++i)
          if (i < t.rows) store(y + o * t.y_plane + i * t.y_row + j * kLanes, rows[i] + bias);
      }
    }
  }
};

template <class Points, int kOut, int kColumns>
LANES_INLINE void band_tile_outputs(const BandProduct& t, const float* x, const float* w, int output, int column) {
  float* const y = t.y + output * t.y_plane + column * kLanes;
  // So many rows are written at once that the processor does not foresee them.
  for (int o = 0; o < kOut; ++o)
    for (int i = 0; i < t.rows; ++i)
      for (int j = 0; j < kColumns; ++j) __builtin_prefetch(y + o * t.y_plane + i * t.y_row + j * kLanes, 1);
  BandSums<Points, kOut, kColumns> tile;
  for (int c = t.channels; c > 0; --c, x += t.point_channel)
    for (int k = 0; k < 3; ++k, w += Points::kPoints * kOut) {
      tile.add(x + k * kLanes, t.point, w);
      asm volatile("" ::: "memory");  // no loads for the next position before their time
    }
  tile.finish(t, output, y);
}

template <class Points>
void band_product(const BandProduct& t) {
  const std::int64_t weights = std::int64_t{3} * t.channels * Points::kPoints;
  for (int w = 0; w < t.columns; w += 2)
    for (int o = 0; o < t.outputs; o += 2) {
      const float* const x = t.x + w * kLanes;
      if (w + 2 <= t.columns)
        o + 2 <= t.outputs ? band_tile_outputs<Points, 2, 2>(t, x, t.w + o * weights, o, w)
                           : band_tile_outputs<Points, 1, 2>(t, x, t.w + o * weights, o, w);
      else
        o + 2 <= t.outputs ? band_tile_outputs<Points, 2, 1>(t, x, t.w + o * weights, o, w)
                           : band_tile_outputs<Points, 1, 1>(t, x, t.w + o * weights, o, w);
    }
}

// f32 [points][count][3] -> (+)= f32 [count][3][3]
template <class Points>
void band_weights(const float* sums, std::int64_t count, float* out, bool accumulate) {
  constexpr int kPoints = Points::kPoints;
  const std::int64_t size = 3 * count;
  for (std::int64_t first = 0; first < size; first += kWidth) {
    const int here = static_cast<int>(size - first < kWidth ? size - first : kWidth);
    vf s[kPoints], w[3];
    for (int i = 0; i < kPoints; ++i) {
      s[i] = vf{};
      if (here == kWidth)
        s[i] = load(sums + i * size + first);
      else
        for (int k = 0; k < here; ++k) s[i][k] = sums[i * size + first + k];
    }
    Points::weights(s, w);
    float rows[3][kWidth];
    for (int i = 0; i < 3; ++i) store(rows[i], w[i]);
    for (int k = 0; k < here; ++k) {
      float* const to = out + (first + k) / 3 * 9 + (first + k) % 3;
      for (int i = 0; i < 3; ++i) to[3 * i] = accumulate ? to[3 * i] + rows[i][k] : rows[i][k];
    }
  }
}

template <class Points>
void list_bands_of(BandKernels& kernels) {
  kernels.inputs = band_inputs<Points>;
  kernels.gradients = band_gradients<Points>;
  kernels.outputs = band_outputs<Points>;
  kernels.weights = band_weights<Points>;
  if constexpr (kRegisters == 32 && kParts == 1) kernels.product = band_product<Points>;
}

inline void list_bands(KernelTable& table) {
  list_bands_of<FourPoints>(table.bands[kTwoRows]);
  list_bands_of<SixPoints>(table.bands[kFourRows]);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
