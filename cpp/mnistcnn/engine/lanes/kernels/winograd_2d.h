#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_transforms.h"

// Transforms of 2-D Winograd F(4x4, 3x3): a tile of 4 x 4 outputs from 6 x 6 inputs, with 36 instead of 144
// multiplications per pair of channels. Transforms are linear and are applied along one axis, then along the other.
// Other kernels compute the products in the domain: 1x1 convolutions over the channels, or weight gradients over
// the tiles. Called by conv/winograd_2d.
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

// Transform kFrom x kFrom values to 6 x 6 in the domain, for all channels and tiles of a group. Tiles are 4 columns
// apart and overlap if kFrom is 6. Therefore the columns of a row of tiles are transformed first, each once.
template <int kFrom, class Transform>
LANES_INLINE void to_domain(const Winograd2dArguments& args, Transform transform) {
  alignas(64) float columns[kMaxColumns * 6 * kWidth];
  const std::int64_t stride = args.domain_stride;
  for (int c = 0; c < args.channels; ++c)
    for (int tile_row = 0; tile_row < args.tile_rows; ++tile_row)
      for (int part = 0; part < kParts; ++part) {
        columns_to_domain<kFrom>(args, args.map + c * args.map_plane + part * kWidth, tile_row, columns, transform);
        float* const first =
            args.domain + c * args.domain_channel_stride + tile_row * args.tile_columns * kLanes + part * kWidth;
        for (int i = 0; i < 6; ++i) {
          const float* from = columns + i * kWidth;
          float* to = first + i * 6 * stride;
          for (int tile = 0; tile < args.tile_columns; ++tile, from += 24 * kWidth, to += kLanes) {
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

inline void winograd_2d_inputs(const Winograd2dArguments& args) {
  to_domain<6>(args, [](const vf(&x)[6], vf(&v)[6]) __attribute__((always_inline)) { F43::inputs(x, v); });
}

inline void winograd_2d_gradients(const Winograd2dArguments& args) {
  to_domain<4>(args, [](const vf(&d)[4], vf(&v)[6]) __attribute__((always_inline)) { F43::gradients(d, v); });
}

inline void winograd_2d_outputs(const Winograd2dArguments& args) {
  for (int c = 0; c < args.channels; ++c)
    for (int tile = 0; tile < args.tile_rows * args.tile_columns; ++tile)
      for (int part = 0; part < kParts; ++part) {
        const float* from = args.domain + c * args.domain_channel_stride + tile * kLanes + part * kWidth;
        vf half[6][4];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          vf m[6];
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) {
            m[i] = load(from + (i * 6 + j) * args.domain_stride);
            keep(m[i]);
          }
          F43::outputs(m, half[j]);
        }
        const int row = 4 * (args.first_tile_row + tile / args.tile_columns),
                  column = 4 * (args.first_tile_column + tile % args.tile_columns);
        float* to = args.map + c * args.map_plane + row * args.map_row + column * kLanes + part * kWidth;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          if (row + i >= args.rows) break;
          vf y[4];
          const vf m[6] = {half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]};
          F43::outputs(m, y);
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j)
            if (column + j < args.columns) store(to + i * args.map_row + j * kLanes, y[j]);
        }
      }
}

// Transform sums, f32 [36][count], to weight gradients, f32 [count][9].
inline void winograd_2d_weights(const float* sums, std::int64_t count, float* out, bool accumulate) {
  for (std::int64_t first = 0; first < count; first += kWidth) {
    const int valid = static_cast<int>(count - first < kWidth ? count - first : kWidth);
    const auto at = [&](int point) __attribute__((always_inline)) {
      if (valid == kWidth) return load(sums + point * count + first);
      vf values{};
      for (int i = 0; i < valid; ++i) values[i] = sums[point * count + first + i];
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
  table.winograd_2d_weights = winograd_2d_weights;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
