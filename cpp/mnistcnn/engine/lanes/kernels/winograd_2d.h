#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_transforms.h"

// Transforms of 2-D Winograd F(4x4, 3x3): a tile of 4 x 4 outputs from 6 x 6 inputs, with 36 instead of 144
// multiplications per pair of channels. Transforms are linear and are applied along one axis, then along the other.
// The products in the domain are matrix products. Called by conv/winograd_2d and conv/winograd_2d_batch.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, https://arxiv.org/abs/1509.09308.
namespace mnistcnn::engine::lanes {
namespace {

// Columns of a row of tiles. columns_to_domain transforms each of them and writes f32 [columns][6][kWidth].
constexpr int kMaxColumns = 4 * kMaxTileGroupColumns + 2;

template <int kFrom, class Transform>
LANES_INLINE void columns_to_domain(const Winograd2dArguments& args, const float* plane, int tile_row, float* out,
                                    Transform transform) {
  alignas(64) static constexpr float kZeros[kMaxColumns * kLanes] = {};  // a row outside the map
  const int first = 4 * (args.first_tile_row + tile_row) - args.top, from = 4 * args.first_tile_column - args.left;
  const int count = 4 * args.tile_columns + kFrom - 4;
  const int begin = from < 0 ? -from : 0, end = args.columns - from < count ? args.columns - from : count;
  const float* row[kFrom];
#pragma GCC unroll 6
  for (int i = 0; i < kFrom; ++i)
    row[i] = first + i >= 0 && first + i < args.rows ? plane + (first + i) * args.map_row + from * kLanes : kZeros;
  for (int w = 0; w < begin * 6; ++w) store(out + w * kWidth, vf{});
  for (int w = begin; w < end; ++w) {
    vf in[kFrom], v[6];
#pragma GCC unroll 6
    for (int i = 0; i < kFrom; ++i) {
      in[i] = load(row[i] + w * kLanes);
      keep(in[i]);
    }
    transform(in, v);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) store(out + (w * 6 + i) * kWidth, v[i]);
  }
  for (int w = end < begin ? begin * 6 : end * 6; w < count * 6; ++w) store(out + w * kWidth, vf{});
}

// A tile of the group in the domain: offset in the first channel, and strides.
struct DomainTile {
  std::int64_t offset, channel_stride, point_stride;
};

LANES_INLINE DomainTile domain_tile(const Winograd2dArguments& args, int tile) {
  const std::int64_t at = args.first_domain_tile + tile, panel = at / args.panel_tiles;
  const std::int64_t left = args.domain_tiles - panel * args.panel_tiles,
                     width = left < args.panel_tiles ? left : args.panel_tiles;
  const std::int64_t panel_vectors = args.channels * (kWinograd2dPoints * args.panel_tiles + 1);
  return {(panel * panel_vectors + at % args.panel_tiles) * kLanes, (kWinograd2dPoints * width + 1) * kLanes,
          width * kLanes};
}

// Transform kFrom x kFrom values to 6 x 6 in the domain, for all channels and tiles of a group. Tiles are 4 columns
// apart and overlap if kFrom is 6. Therefore the columns of a row of tiles are transformed first, each once.
template <int kFrom, class Transform>
LANES_INLINE void to_domain(const Winograd2dArguments& args, Transform transform) {
  alignas(64) float columns[kMaxColumns * 6 * kWidth];
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row) {
    DomainTile tiles[kMaxTileGroupColumns];
    for (int tile = 0; tile < args.tile_columns; ++tile)
      tiles[tile] = domain_tile(args, tile_row * args.tile_columns + tile);
    for (int c = 0; c < args.channels; ++c)
      for (int part = 0; part < kParts; ++part) {
        columns_to_domain<kFrom>(args, args.map + c * args.map_plane + part * kWidth, tile_row, columns, transform);
        for (int i = 0; i < 6; ++i) {
          const float* from = columns + i * kWidth;
          for (int tile = 0; tile < args.tile_columns; ++tile, from += 24 * kWidth) {
            const std::int64_t stride = tiles[tile].point_stride;
            float* const to =
                args.domain + tiles[tile].offset + c * tiles[tile].channel_stride + i * 6 * stride + part * kWidth;
            vf in[kFrom], v[6];
#pragma GCC unroll 6
            for (int j = 0; j < kFrom; ++j) {
              in[j] = load(from + j * 6 * kWidth);
              keep(in[j]);
            }
            transform(in, v);
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j) store(to + j * stride, v[j]);
          }
        }
      }
  }
}

inline void winograd_2d_inputs(const Winograd2dArguments& args) {
  to_domain<6>(args, [](const vf(&x)[6], vf(&v)[6]) __attribute__((always_inline)) { F43::inputs(x, v); });
}

inline void winograd_2d_gradients(const Winograd2dArguments& args) {
  to_domain<4>(args, [](const vf(&d)[4], vf(&v)[6]) __attribute__((always_inline)) { F43::gradients(d, v); });
}

// Transform 6 x 6 values in the domain to kTo x kTo values, for all channels and tiles of a group, and call
// write(channel, tile row, tile column, part, row, values of the row) for each row.
template <int kTo, class Transform, class Write>
LANES_INLINE void from_domain(const Winograd2dArguments& args, Transform transform, Write write) {
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row)
    for (int c = 0; c < args.channels; ++c)
      for (int tile_column = 0; tile_column < args.tile_columns; ++tile_column) {
        const DomainTile tile = domain_tile(args, tile_row * args.tile_columns + tile_column);
        for (int part = 0; part < kParts; ++part) {
          const float* from = args.domain + tile.offset + c * tile.channel_stride + part * kWidth;
          vf half[6][kTo];
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) {
            vf m[6];
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) {
              m[i] = load(from + (i * 6 + j) * tile.point_stride);
              keep(m[i]);
            }
            transform(m, half[j]);
          }
#pragma GCC unroll 6
          for (int i = 0; i < kTo; ++i) {
            vf y[kTo];
            const vf m[6] = {half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]};
            transform(m, y);
            write(c, args.first_tile_row + tile_row, args.first_tile_column + tile_column, part, i, y);
          }
        }
      }
}

inline void winograd_2d_outputs(const Winograd2dArguments& args) {
  from_domain<4>(
      args, [](const vf(&m)[6], vf(&y)[4]) __attribute__((always_inline)) { F43::outputs(m, y); },
      [&](int c, int tile_row, int tile_column, int part, int i, const vf(&y)[4]) __attribute__((always_inline)) {
        const int row = 4 * tile_row + i, column = 4 * tile_column;
        if (row >= args.rows) return;
        const vf bias = args.bias ? splat(args.bias[c]) : vf{};
        float* const to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j)
          if (column + j < args.columns) store(to + j * kLanes, y[j] + bias);
      });
}

// The input gradient is the transposed forward pass, so tiles of 6 x 6 input gradients overlap and are added. The first
// tile that covers a position writes it: tiles are in an order in which those above and to the left come first.
inline void winograd_2d_input_gradients(const Winograd2dArguments& args) {
  from_domain<6>(
      args, [](const vf(&m)[6], vf(&x)[6]) __attribute__((always_inline)) { F43::input_gradients(m, x); },
      [&](int c, int tile_row, int tile_column, int part, int i, const vf(&x)[6]) __attribute__((always_inline)) {
        const int row = 4 * tile_row + i - args.top, column = 4 * tile_column - args.left;
        if (row < 0 || row >= args.rows) return;
        float* const to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
        const bool add_row = i < 2 && tile_row > 0;
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          if (column + j < 0 || column + j >= args.columns) continue;
          const bool add = add_row || (j < 2 && tile_column > 0);
          store(to + j * kLanes, add ? load(to + j * kLanes) + x[j] : x[j]);
        }
      });
}

constexpr int kHalfWidth = kWidth / 2;
using vd = double __attribute__((vector_size(kWidth * 4)));  // kHalfWidth doubles

// Transform three weights along one axis.
LANES_INLINE void weights_to_domain(const vd (&w)[3], vd (&u)[6]) {
  constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;
  const vd even_a = w[0] + 0.5 * w[2], odd_a = kA * w[1], even_b = w[0] + 2.0 * w[2], odd_b = kB * w[1];
  u[0] = w[0];
  u[1] = (even_a + odd_a) * (-2.0 / 3);
  u[2] = (even_a - odd_a) * (-2.0 / 3);
  u[3] = (even_b + odd_b) / 6.0;
  u[4] = (even_b - odd_b) / 6.0;
  u[5] = w[2];
}

// Transform weights in double, because a rounding error would enter every product.
inline void winograd_2d_weights(const Winograd2dWeightArguments& args) {
  using half_float = float __attribute__((vector_size(kHalfWidth * 4)));
  using half_unaligned __attribute__((aligned(4), may_alias)) = half_float;
  for (int first = 0; first < args.count; first += kHalfWidth) {
    const int valid = args.count - first < kHalfWidth ? args.count - first : kHalfWidth;
    vd w[9] = {};
    for (int i = 0; i < valid; ++i) {
      const float* const kernel = args.weights + (first + i) * args.kernel_stride;
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) w[k][i] = kernel[k];
    }
    vd rows[3][6];
    for (int i = 0; i < 3; ++i) {
      const vd row[3] = {w[3 * i], w[3 * i + 1], w[3 * i + 2]};
      weights_to_domain(row, rows[i]);
    }
    float* const out = args.out + first;
    for (int j = 0; j < 6; ++j) {
      const vd column[3] = {rows[0][j], rows[1][j], rows[2][j]};
      vd u[6];
      weights_to_domain(column, u);
      for (int i = 0; i < 6; ++i) {
        float* const to = out + (i * 6 + j) * args.point_stride;
        const half_float rounded = __builtin_convertvector(u[i], half_float);
        if (valid == kHalfWidth)
          *reinterpret_cast<half_unaligned*>(to) = rounded;
        else
          for (int k = 0; k < valid; ++k) to[k] = rounded[k];
      }
    }
  }
}

// Transform sums, f32 [36][count], to weight gradients, f32 [count][9].
inline void winograd_2d_weight_gradients(const float* sums, std::int64_t point_stride, std::int64_t count, float* out,
                                         bool accumulate) {
  for (std::int64_t first = 0; first < count; first += kWidth) {
    const int valid = static_cast<int>(count - first < kWidth ? count - first : kWidth);
    const auto at = [&](int point) __attribute__((always_inline)) {
      if (valid == kWidth) return load(sums + point * point_stride + first);
      vf values{};
      for (int i = 0; i < valid; ++i) values[i] = sums[point * point_stride + first + i];
      return values;
    };
    vf half[6][3];
    for (int i = 0; i < 6; ++i) {
      const vf s[6] = {at(6 * i), at(6 * i + 1), at(6 * i + 2), at(6 * i + 3), at(6 * i + 4), at(6 * i + 5)};
      F43::weights(s, half[i]);
    }
    float kernel[9][kWidth];
    for (int j = 0; j < 3; ++j) {
      const vf s[6] = {half[0][j], half[1][j], half[2][j], half[3][j], half[4][j], half[5][j]};
      vf w[3];
      F43::weights(s, w);
      for (int i = 0; i < 3; ++i) store(kernel[3 * i + j], w[i]);
    }
    float* to = out + first * 9;
    for (int i = 0; i < valid; ++i)
      for (int k = 0; k < 9; ++k, ++to) *to = accumulate ? *to + kernel[k][i] : kernel[k][i];
  }
}

inline void fill_winograd_2d(KernelTable& table) {
  table.winograd_2d_inputs = winograd_2d_inputs;
  table.winograd_2d_gradients = winograd_2d_gradients;
  table.winograd_2d_outputs = winograd_2d_outputs;
  table.winograd_2d_input_gradients = winograd_2d_input_gradients;
  table.winograd_2d_weights = winograd_2d_weights;
  table.winograd_2d_weight_gradients = winograd_2d_weight_gradients;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
