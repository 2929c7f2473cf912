#pragma once
#include <cstring>

#include "mnistcnn/engine/lanes/kernels/images.h"
#include "mnistcnn/engine/lanes/kernels/winograd_transforms.h"

// Transforms of 2-D Winograd F(4x4, 3x3): a tile of 4 x 4 outputs from 6 x 6 inputs, with 36 instead of 144
// multiplications per pair of channels. Tiles at the edge of a map can have 2 or 3 rows or columns of outputs, and
// then have fewer points. Transforms are linear and are applied along one axis, then along the other. The products in
// the domain are matrix products. Called by conv/winograd_2d and conv/winograd_2d_batch.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, https://arxiv.org/abs/1509.09308.
namespace mnistcnn::engine::lanes {
namespace {

constexpr int kMaxPoints = F43::kPoints, kMaxOutputs = F43::kOutputs;  // of a tile, along one axis
// Columns of a row of tiles. columns_to_domain transforms each of them and writes f32 [columns][F::kPoints][kWidth].
constexpr int kMaxColumns = kMaxOutputs * kMaxTileGroupColumns + 2;

// Prefetch the same position of the next channel into L2. The channels of a map are far apart in memory, so the
// hardware does not prefetch them. Only one of the registers of a vector does this, as the vector is one cache line.
// After the last channel, unused memory is prefetched.
LANES_INLINE void prefetch_next_channel(const Winograd2dArguments& args, const float* at, int part) {
  if (part == 0) __builtin_prefetch(at + args.map_plane, 0, 2);
}

// The transforms along one axis, between kValues values of a map and F::kPoints values of the domain.
struct InputTransform {
  template <class F>
  static constexpr int kValues = F::kPoints;
  template <class F, class From, class To>
  static LANES_INLINE void apply(const From& from, To& to) {
    F::inputs(from, to);
  }
};

struct GradientTransform {
  template <class F>
  static constexpr int kValues = F::kOutputs;
  template <class F, class From, class To>
  static LANES_INLINE void apply(const From& from, To& to) {
    F::gradients(from, to);
  }
};

struct OutputTransform {
  template <class F>
  static constexpr int kValues = F::kOutputs;
  template <class F, class From, class To>
  static LANES_INLINE void apply(const From& from, To& to) {
    F::outputs(from, to);
  }
};

struct InputGradientTransform {
  template <class F>
  static constexpr int kValues = F::kPoints;
  template <class F, class From, class To>
  static LANES_INLINE void apply(const From& from, To& to) {
    F::input_gradients(from, to);
  }
};

// Transform the columns of a row of tiles.
template <class Transform, class F>
LANES_INLINE void columns_to_domain(const Winograd2dArguments& args, const float* plane, int part, int tile_row,
                                    float* out) {
  alignas(64) static constexpr float kZeros[kMaxColumns * kLanes] = {};  // a row outside the map
  constexpr int kFrom = Transform::template kValues<F>, kPoints = F::kPoints;
  const int first = args.first_row + F::kOutputs * tile_row - args.top, from = args.first_column - args.left;
  const int overlap = kFrom - F::kOutputs;  // of tiles of inputs
  const int count = args.tile_width * args.tile_columns + overlap;
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
      prefetch_next_channel(args, row[i] + w * kLanes, part);
    }
    Transform::template apply<F>(in, v);
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) store(out + (w * kPoints + i) * kWidth, v[i]);
  }
  for (int w = end < begin ? begin * kPoints : end * kPoints; w < count * kPoints; ++w) store(out + w * kWidth, vf{});
}

// A tile of the group in the domain: offset in the first channel, and strides.
struct DomainTile {
  std::int64_t offset, channel_stride, point_stride;
};

LANES_INLINE DomainTile domain_tile(const Winograd2dArguments& args, int tile) {
  const std::int64_t points = (args.tile_height + 2) * (args.tile_width + 2);
  const std::int64_t at = args.first_domain_tile + tile, panel = at / args.panel_tiles;
  const std::int64_t left = args.domain_tiles - panel * args.panel_tiles,
                     width = left < args.panel_tiles ? left : args.panel_tiles;
  const std::int64_t panel_vectors = args.channels * (points * args.panel_tiles + 1);
  return {(panel * panel_vectors + at % args.panel_tiles) * kLanes, (points * width + 1) * kLanes, width * kLanes};
}

LANES_INLINE void find_row_of_tiles(const Winograd2dArguments& args, int tile_row, DomainTile* tiles) {
  for (int column = 0; column < args.tile_columns; ++column)
    tiles[column] = domain_tile(args, tile_row * args.tile_columns + column);
}

// Transform the rows of a row of tiles, whose columns are transformed, to the domain.
template <class Transform, class F, int kRowPoints>
LANES_INLINE void rows_to_domain(const Winograd2dArguments& args, const float* columns, const DomainTile* tiles,
                                 float* domain, int channel) {
  constexpr int kFrom = Transform::template kValues<F>, kPoints = F::kPoints;
  for (int i = 0; i < kRowPoints; ++i) {
    const float* from = columns + i * kWidth;
    for (int tile = 0; tile < args.tile_columns; ++tile, from += F::kOutputs * kRowPoints * kWidth) {
      const std::int64_t stride = tiles[tile].point_stride;
      float* const to = domain + tiles[tile].offset + channel * tiles[tile].channel_stride + i * kPoints * stride;
      vf in[kFrom], v[kPoints];
#pragma GCC unroll 6
      for (int j = 0; j < kFrom; ++j) {
        in[j] = load(from + j * kRowPoints * kWidth);
        keep(in[j]);
      }
      Transform::template apply<F>(in, v);
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; ++j) store(to + j * stride, v[j]);
    }
  }
}

// Transform the values of each tile to the domain, for all channels and tiles of a group. Tiles of inputs overlap.
// Therefore the columns of a row of tiles are transformed first, each once.
template <class Transform, class Rows, class Columns>
LANES_INLINE void to_domain(const Winograd2dArguments& args) {
  alignas(64) float columns[kMaxColumns * kMaxPoints * kWidth];
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row) {
    DomainTile tiles[kMaxTileGroupColumns];
    find_row_of_tiles(args, tile_row, tiles);
    for (int c = 0; c < args.channels; ++c)
      for (int part = 0; part < kParts; ++part) {
        const float* const plane = args.map + c * args.map_plane + part * kWidth;
        columns_to_domain<Transform, Rows>(args, plane, part, tile_row, columns);
        rows_to_domain<Transform, Columns, Rows::kPoints>(args, columns, tiles, args.domain + part * kWidth, c);
      }
  }
}

// Transform the columns of a tile from the domain. `out` is f32 [columns of points][rows of values][kWidth].
template <class Transform, class F, int kColumnPoints>
LANES_INLINE void columns_from_domain(const float* from, std::int64_t point_stride, float* out) {
  constexpr int kTo = Transform::template kValues<F>, kPoints = F::kPoints;
  for (int j = 0; j < kColumnPoints; ++j) {
    vf m[kPoints], y[kTo];
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) {
      m[i] = load(from + (i * kColumnPoints + j) * point_stride);
      keep(m[i]);
    }
    Transform::template apply<F>(m, y);
#pragma GCC unroll 6
    for (int i = 0; i < kTo; ++i) store(out + (j * kTo + i) * kWidth, y[i]);
  }
}

// Transform the values of each tile from the domain, for all channels and tiles of a group, and call
// write(channel, first row of the tile, first column, part, row, values of the row) for each row.
template <class Transform, class Rows, class Columns, class Write>
LANES_INLINE void from_domain(const Winograd2dArguments& args, Write write) {
  alignas(64) float columns[kMaxPoints * kMaxPoints * kWidth];
  for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row) {
    DomainTile tiles[kMaxTileGroupColumns];
    find_row_of_tiles(args, tile_row, tiles);
    for (int c = 0; c < args.channels; ++c)
      for (int tile_column = 0; tile_column < args.tile_columns; ++tile_column) {
        const DomainTile& tile = tiles[tile_column];
        const int row = args.first_row + tile_row * args.tile_height,
                  column = args.first_column + tile_column * args.tile_width;
        for (int part = 0; part < kParts; ++part) {
          const float* const from = args.domain + tile.offset + c * tile.channel_stride + part * kWidth;
          columns_from_domain<Transform, Rows, Columns::kPoints>(from, tile.point_stride, columns);
          constexpr int kRows = Transform::template kValues<Rows>;
          for (int i = 0; i < kRows; ++i) {
            vf m[Columns::kPoints], y[Transform::template kValues<Columns>];
#pragma GCC unroll 6
            for (int j = 0; j < Columns::kPoints; ++j) m[j] = load(columns + (j * kRows + i) * kWidth);
            Transform::template apply<Columns>(m, y);
            write(c, row, column, part, i, y);
          }
        }
      }
  }
}

template <class Rows, class Columns>
void winograd_2d_outputs(const Winograd2dArguments& args) {
  from_domain<OutputTransform, Rows, Columns>(
      args, [&](int c, int first_row, int first_column, int part, int i, const auto& y) __attribute__((always_inline)) {
        const int row = first_row + i;
        if (row >= args.rows) return;
        const vf bias = args.bias ? splat(args.bias[c]) : vf{};
        float* const to = args.map + c * args.map_plane + row * args.map_row + first_column * kLanes + part * kWidth;
#pragma GCC unroll 4
        for (int j = 0; j < Columns::kOutputs; ++j)
          if (first_column + j < args.columns) {
            store(to + j * kLanes, y[j] + bias);
            prefetch_next_channel(args, to + j * kLanes, part);
          }
      });
}

// The input gradient is the transposed forward pass, so tiles of input gradients overlap by two rows and columns and
// are added. The first tile that covers a position writes it: tiles are in an order in which those above and to the
// left come first.
template <class Rows, class Columns>
void winograd_2d_input_gradients(const Winograd2dArguments& args) {
  from_domain<InputGradientTransform, Rows, Columns>(
      args, [&](int c, int first_row, int first_column, int part, int i, const auto& x) __attribute__((always_inline)) {
        const int row = first_row + i - args.top, column = first_column - args.left;
        if (row < 0 || row >= args.rows) return;
        float* const to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
        const bool add_row = i < 2 && first_row > 0;
#pragma GCC unroll 6
        for (int j = 0; j < Columns::kPoints; ++j) {
          if (column + j < 0 || column + j >= args.columns) continue;
          const bool add = add_row || (j < 2 && first_column > 0);
          store(to + j * kLanes, add ? load(to + j * kLanes) + x[j] : x[j]);
          prefetch_next_channel(args, to + j * kLanes, part);
        }
      });
}

constexpr int kHalfWidth = kWidth / 2;
using vd = double __attribute__((vector_size(kWidth * 4)));  // kHalfWidth doubles

// Copy up to kWidth kernels to f32 [9][kWidth].
LANES_INLINE void load_kernels(const float* kernels, std::int64_t stride, int count, float (&out)[9][kWidth]) {
  if (count == kWidth) {
    transpose(kernels, stride, kWidth, 8, out[0], kWidth);
    for (int i = 0; i < kWidth; ++i) out[8][i] = kernels[i * stride + 8];
    return;
  }
  for (int k = 0; k < 9; ++k)
    for (int i = 0; i < kWidth; ++i) out[k][i] = i < count ? kernels[i * stride + k] : 0.0f;
}

// Transform weights in double, because a rounding error would enter every product.
inline void winograd_2d_weights(const Winograd2dWeightArguments& args) {
  constexpr int kPoints = F43::kPoints;
  using half_float = float __attribute__((vector_size(kHalfWidth * 4)));
  using half_unaligned __attribute__((aligned(4), may_alias)) = half_float;
  alignas(64) float kernels[9][kWidth];
  for (int first = 0; first < args.count; first += kHalfWidth) {
    const int valid = args.count - first < kHalfWidth ? args.count - first : kHalfWidth, half = first % kWidth;
    if (half == 0)
      load_kernels(args.weights + first * args.kernel_stride, args.kernel_stride,
                   args.count - first < kWidth ? args.count - first : kWidth, kernels);
    vd rows[3][kPoints];
    for (int i = 0; i < 3; ++i) {
      vd row[3];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j)
        row[j] = __builtin_convertvector(*reinterpret_cast<const half_unaligned*>(&kernels[3 * i + j][half]), vd);
      F43::weights_to_domain(row, rows[i]);
    }
    float* const out = args.out + first;
    for (int j = 0; j < args.column_points; ++j) {
      const vd column[3] = {rows[0][j], rows[1][j], rows[2][j]};
      vd u[kPoints];
      F43::weights_to_domain(column, u);
      for (int i = 0; i < args.row_points; ++i) {
        float* const to = out + (i * args.column_points + j) * args.point_stride;
        const half_float rounded = __builtin_convertvector(u[i], half_float);
        if (valid == kHalfWidth)
          *reinterpret_cast<half_unaligned*>(to) = rounded;
        else
          for (int k = 0; k < valid; ++k) to[k] = rounded[k];
      }
    }
  }
}

// Transform sums to weight gradients. Points that no tile has contribute nothing.
inline void winograd_2d_weight_gradients(const Winograd2dSumArguments& args) {
  constexpr int kPoints = F43::kPoints;
  for (std::int64_t first = 0; first < args.count; first += kWidth) {
    const int valid = static_cast<int>(args.count - first < kWidth ? args.count - first : kWidth);
    const auto at = [&](int i, int j) __attribute__((always_inline)) {
      vf values{};
      if (i >= args.row_points || j >= args.column_points) return values;
      const float* const from = args.sums + (i * args.column_points + j) * args.point_stride + first;
      if (valid == kWidth) return load(from);
      for (int k = 0; k < valid; ++k) values[k] = from[k];
      return values;
    };
    vf half[kPoints][3];
    for (int i = 0; i < kPoints; ++i) {
      vf s[kPoints];
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; ++j) s[j] = at(i, j);
      F43::weights(s, half[i]);
    }
    alignas(64) float kernels[9][kWidth];
    for (int j = 0; j < 3; ++j) {
      vf s[kPoints], w[3];
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; ++i) s[i] = half[i][j];
      F43::weights(s, w);
      for (int i = 0; i < 3; ++i) store(kernels[3 * i + j], w[i]);
    }
    alignas(64) float values[kWidth * 9];
    transpose(kernels[0], kWidth, 8, kWidth, values, 9);
    for (int i = 0; i < kWidth; ++i) values[i * 9 + 8] = kernels[8][i];
    float* const to = args.out + first * 9;
    if (args.accumulate)
      add(values, to, valid * 9);
    else
      std::memcpy(to, values, sizeof(float) * 9 * static_cast<std::size_t>(valid));
  }
}

// Call run(F) with the transforms for `tile_size` outputs.
template <class Run>
void with_transforms_of(int tile_size, Run run) {
  if (tile_size == 4) return run(F43{});
  if (tile_size == 3) return run(ShortF33{});
  run(ShortF23{});
}

// Call run<Rows, Columns>() with the transforms along both axes for the tiles of a group.
template <class Run>
void with_transforms(const Winograd2dArguments& args, Run run) {
  with_transforms_of(args.tile_height, [&](auto rows) {
    with_transforms_of(args.tile_width,
                       [&](auto columns) { run.template operator()<decltype(rows), decltype(columns)>(); });
  });
}

inline void fill_winograd_2d(KernelTable& table) {
  table.winograd_2d = {
      [](const Winograd2dArguments& args) {
        with_transforms(args, [&]<class Rows, class Columns>() { to_domain<InputTransform, Rows, Columns>(args); });
      },
      [](const Winograd2dArguments& args) {
        with_transforms(args, [&]<class Rows, class Columns>() { to_domain<GradientTransform, Rows, Columns>(args); });
      },
      [](const Winograd2dArguments& args) {
        with_transforms(args, [&]<class Rows, class Columns>() { winograd_2d_outputs<Rows, Columns>(args); });
      },
      [](const Winograd2dArguments& args) {
        with_transforms(args, [&]<class Rows, class Columns>() { winograd_2d_input_gradients<Rows, Columns>(args); });
      },
      winograd_2d_weights,
      winograd_2d_weight_gradients,
  };
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
