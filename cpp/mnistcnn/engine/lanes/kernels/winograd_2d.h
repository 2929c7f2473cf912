#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_transforms.h"

// Transforms of 2-D Winograd F(4x4, 3x3) and F(3x3, 3x3): a tile of 4 x 4 outputs from 6 x 6 inputs, with 36 instead of
// 144 multiplications per pair of channels, or 3 x 3 outputs with 25 instead of 81. Transforms are linear and are
// applied along one axis, then along the other. The products in the domain are matrix products. Called by
// conv/winograd_2d and conv/winograd_2d_batch.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, https://arxiv.org/abs/1509.09308.
namespace mnistcnn::engine::lanes {
namespace {

// Columns of a row of tiles. columns_to_domain transforms each of them and writes f32 [columns][F::kPoints][kWidth].
constexpr int kMaxColumns = 4 * kMaxTileGroupColumns + 2;

// `transform` changes kFrom values to F::kPoints values: inputs or output gradients of a tile, along one axis.
template <class F, int kFrom, class Transform>
LANES_INLINE void columns_to_domain(const Winograd2dArguments& args, const float* plane, int tile_row, float* out,
                                    Transform transform) {
  alignas(64) static constexpr float kZeros[kMaxColumns * kLanes] = {};  // a row outside the map
  constexpr int kTile = F::kOutputs, kPoints = F::kPoints;
  const int first = kTile * (args.first_tile_row + tile_row) - args.top,
            from = kTile * args.first_tile_column - args.left;
  const int count = kTile * args.tile_columns + kFrom - kTile;
  const int begin = from < 0 ? -from : 0, end = args.columns - from < count ? args.columns - from : count;
  const float* row[kFrom];
#pragma GCC unroll 6
  for (int i = 0; i < kFrom; ++i)
    row[i] = first + i >= 0 && first + i < args.rows ? plane + (first + i) * args.map_row + from * kLanes : kZeros;
  for (int w = 0; w < begin * kPoints; ++w) store(out + w * kWidth, vf{});
  for (int w = begin; w < end; ++w) {
    vf in[kFrom], v[kPoints];
#pragma GCC unroll 6
    for (int i = 0; i < kFrom; ++i) {
      in[i] = load(row[i] + w * kLanes);
      keep(in[i]);
    }
    transform(in, v);
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) store(out + (w * kPoints + i) * kWidth, v[i]);
  }
  for (int w = end < begin ? begin * kPoints : end * kPoints; w < count * kPoints; ++w) store(out + w * kWidth, vf{});
}

// A tile of the group in the domain: offset in the first channel, and strides.
struct DomainTile {
  std::int64_t offset, channel_stride, point_stride;
};

template <class F>
LANES_INLINE DomainTile domain_tile(const Winograd2dArguments& args, int tile) {
  constexpr std::int64_t kPoints = F::kPoints * F::kPoints;
  const std::int64_t at = args.first_domain_tile + tile, panel = at / args.panel_tiles;
  const std::int64_t left = args.domain_tiles - panel * args.panel_tiles,
                     width = left < args.panel_tiles ? left : args.panel_tiles;
  const std::int64_t panel_vectors = args.channels * (kPoints * args.panel_tiles + 1);
  return {(panel * panel_vectors + at % args.panel_tiles) * kLanes, (kPoints * width + 1) * kLanes, width * kLanes};
}

// Transform kFrom x kFrom values of each tile to the domain, for all channels and tiles of a group. Tiles of inputs
// overlap. Therefore the columns of a row of tiles are transformed first, each once.
template <class F, int kFrom, class Transform>
LANES_INLINE void to_domain(const Winograd2dArguments& args, Transform transform) {
  constexpr int kPoints = F::kPoints;
  alignas(64) float columns[kMaxColumns * kPoints * kWidth];
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row) {
    DomainTile tiles[kMaxTileGroupColumns];
    for (int tile = 0; tile < args.tile_columns; ++tile)
      tiles[tile] = domain_tile<F>(args, tile_row * args.tile_columns + tile);
    for (int c = 0; c < args.channels; ++c)
      for (int part = 0; part < kParts; ++part) {
        columns_to_domain<F, kFrom>(args, args.map + c * args.map_plane + part * kWidth, tile_row, columns, transform);
        for (int i = 0; i < kPoints; ++i) {
          const float* from = columns + i * kWidth;
          for (int tile = 0; tile < args.tile_columns; ++tile, from += F::kOutputs * kPoints * kWidth) {
            const std::int64_t stride = tiles[tile].point_stride;
            float* const to = args.domain + tiles[tile].offset + c * tiles[tile].channel_stride + i * kPoints * stride +
                              part * kWidth;
            vf in[kFrom], v[kPoints];
#pragma GCC unroll 6
            for (int j = 0; j < kFrom; ++j) {
              in[j] = load(from + j * kPoints * kWidth);
              keep(in[j]);
            }
            transform(in, v);
#pragma GCC unroll 6
            for (int j = 0; j < kPoints; ++j) store(to + j * stride, v[j]);
          }
        }
      }
  }
}

// Transform the values of each tile in the domain to kTo x kTo values, for all channels and tiles of a group, and call
// write(channel, tile row, tile column, part, row, values of the row) for each row.
template <class F, int kTo, class Transform, class Write>
LANES_INLINE void from_domain(const Winograd2dArguments& args, Transform transform, Write write) {
  constexpr int kPoints = F::kPoints;
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row)
    for (int c = 0; c < args.channels; ++c)
      for (int tile_column = 0; tile_column < args.tile_columns; ++tile_column) {
        const DomainTile tile = domain_tile<F>(args, tile_row * args.tile_columns + tile_column);
        for (int part = 0; part < kParts; ++part) {
          const float* from = args.domain + tile.offset + c * tile.channel_stride + part * kWidth;
          vf half[kPoints][kTo];
#pragma GCC unroll 6
          for (int j = 0; j < kPoints; ++j) {
            vf m[kPoints];
#pragma GCC unroll 6
            for (int i = 0; i < kPoints; ++i) {
              m[i] = load(from + (i * kPoints + j) * tile.point_stride);
              keep(m[i]);
            }
            transform(m, half[j]);
          }
#pragma GCC unroll 6
          for (int i = 0; i < kTo; ++i) {
            vf m[kPoints], y[kTo];
#pragma GCC unroll 6
            for (int j = 0; j < kPoints; ++j) m[j] = half[j][i];
            transform(m, y);
            write(c, args.first_tile_row + tile_row, args.first_tile_column + tile_column, part, i, y);
          }
        }
      }
}

template <class F>
void winograd_2d_inputs(const Winograd2dArguments& args) {
  to_domain<F, F::kPoints>(args, [](const auto& x, auto& v) __attribute__((always_inline)) { F::inputs(x, v); });
}

template <class F>
void winograd_2d_gradients(const Winograd2dArguments& args) {
  to_domain<F, F::kOutputs>(args, [](const auto& d, auto& v) __attribute__((always_inline)) { F::gradients(d, v); });
}

template <class F>
void winograd_2d_outputs(const Winograd2dArguments& args) {
  constexpr int kTile = F::kOutputs;
  from_domain<F, kTile>(
      args, [](const auto& m, auto& y) __attribute__((always_inline)) { F::outputs(m, y); },
      [&](int c, int tile_row, int tile_column, int part, int i, const auto& y) __attribute__((always_inline)) {
        const int row = kTile * tile_row + i, column = kTile * tile_column;
        if (row >= args.rows) return;
        const vf bias = args.bias ? splat(args.bias[c]) : vf{};
        float* const to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
#pragma GCC unroll 4
        for (int j = 0; j < kTile; ++j)
          if (column + j < args.columns) store(to + j * kLanes, y[j] + bias);
      });
}

// The input gradient is the transposed forward pass, so tiles of input gradients overlap by two rows and columns and
// are added. The first tile that covers a position writes it: tiles are in an order in which those above and to the
// left come first.
template <class F>
void winograd_2d_input_gradients(const Winograd2dArguments& args) {
  constexpr int kTile = F::kOutputs, kPoints = F::kPoints;
  from_domain<F, kPoints>(
      args, [](const auto& m, auto& x) __attribute__((always_inline)) { F::input_gradients(m, x); },
      [&](int c, int tile_row, int tile_column, int part, int i, const auto& x) __attribute__((always_inline)) {
        const int row = kTile * tile_row + i - args.top, column = kTile * tile_column - args.left;
        if (row < 0 || row >= args.rows) return;
        float* const to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
        const bool add_row = i < 2 && tile_row > 0;
#pragma GCC unroll 6
        for (int j = 0; j < kPoints; ++j) {
          if (column + j < 0 || column + j >= args.columns) continue;
          const bool add = add_row || (j < 2 && tile_column > 0);
          store(to + j * kLanes, add ? load(to + j * kLanes) + x[j] : x[j]);
        }
      });
}

constexpr int kHalfWidth = kWidth / 2;
using vd = double __attribute__((vector_size(kWidth * 4)));  // kHalfWidth doubles

// Transform weights in double, because a rounding error would enter every product.
template <class F>
void winograd_2d_weights(const Winograd2dWeightArguments& args) {
  constexpr int kPoints = F::kPoints;
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
    vd rows[3][kPoints];
    for (int i = 0; i < 3; ++i) {
      const vd row[3] = {w[3 * i], w[3 * i + 1], w[3 * i + 2]};
      F::weights_to_domain(row, rows[i]);
    }
    float* const out = args.out + first;
    for (int j = 0; j < kPoints; ++j) {
      const vd column[3] = {rows[0][j], rows[1][j], rows[2][j]};
      vd u[kPoints];
      F::weights_to_domain(column, u);
      for (int i = 0; i < kPoints; ++i) {
        float* const to = out + (i * kPoints + j) * args.point_stride;
        const half_float rounded = __builtin_convertvector(u[i], half_float);
        if (valid == kHalfWidth)
          *reinterpret_cast<half_unaligned*>(to) = rounded;
        else
          for (int k = 0; k < valid; ++k) to[k] = rounded[k];
      }
    }
  }
}

// Transform sums, f32 [points][count], to weight gradients, f32 [count][9].
template <class F>
void winograd_2d_weight_gradients(const float* sums, std::int64_t point_stride, std::int64_t count, float* out,
                                  bool accumulate) {
  constexpr int kPoints = F::kPoints;
  for (std::int64_t first = 0; first < count; first += kWidth) {
    const int valid = static_cast<int>(count - first < kWidth ? count - first : kWidth);
    const auto at = [&](int point) __attribute__((always_inline)) {
      if (valid == kWidth) return load(sums + point * point_stride + first);
      vf values{};
      for (int i = 0; i < valid; ++i) values[i] = sums[point * point_stride + first + i];
      return values;
    };
    vf half[kPoints][3];
    for (int i = 0; i < kPoints; ++i) {
      vf s[kPoints];
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; ++j) s[j] = at(kPoints * i + j);
      F::weights(s, half[i]);
    }
    float kernel[9][kWidth];
    for (int j = 0; j < 3; ++j) {
      vf s[kPoints], w[3];
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; ++i) s[i] = half[i][j];
      F::weights(s, w);
      for (int i = 0; i < 3; ++i) store(kernel[3 * i + j], w[i]);
    }
    float* to = out + first * 9;
    for (int i = 0; i < valid; ++i)
      for (int k = 0; k < 9; ++k, ++to) *to = accumulate ? *to + kernel[k][i] : kernel[k][i];
  }
}

template <class F>
void fill_winograd_2d(Winograd2dKernels& kernels) {
  kernels.inputs = winograd_2d_inputs<F>;
  kernels.gradients = winograd_2d_gradients<F>;
  kernels.outputs = winograd_2d_outputs<F>;
  kernels.input_gradients = winograd_2d_input_gradients<F>;
  kernels.weights = winograd_2d_weights<F>;
  kernels.weight_gradients = winograd_2d_weight_gradients<F>;
}

inline void fill_winograd_2d(KernelTable& table) {
  fill_winograd_2d<F33>(table.winograd_2d[kTile3x3]);
  fill_winograd_2d<F43>(table.winograd_2d[kTile4x4]);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
