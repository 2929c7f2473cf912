#pragma once
#include "mnistcnn/engine/lanes/kernels/winograd_points.h"

// Winograd's F(4x4, 3x3): a tile of 4 x 4 outputs from 6 x 6 inputs by 36 instead of 144 multiplications per pair of
// channels. Every transform is linear and goes first along the rows, then along the columns; between them lie products
// over the channels (or, for weight gradients, over the tiles), which other kernels do.
namespace mnistcnn::engine::lanes {
namespace {

// One part of the columns of a row of tiles, each transformed: f32 [columns][6][kWidth].
constexpr int kMostColumns = 4 * kMostTilesAbreast + 2;

template <int kFrom, class Transform>
LANES_INLINE void columns_to_points(const WinogradTile& t, const float* plane, int tile_row, float* out,
                                    Transform transform) {
  alignas(64) static constexpr float kZeros[kMostColumns * kLanes] = {};  // a row outside the map
  const int first = 4 * (t.first_tile_row + tile_row) - t.top, from = 4 * t.first_tile_column - t.left;
  const int count = 4 * t.tile_columns + kFrom - 4;
  const int begin = from < 0 ? -from : 0, end = t.columns - from < count ? t.columns - from : count;
  const float* row[kFrom];
#pragma GCC unroll 6
  for (int i = 0; i < kFrom; ++i)
    row[i] = first + i >= 0 && first + i < t.rows ? plane + (first + i) * t.map_row + from * kLanes : kZeros;
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

// kFrom x kFrom values -> 6 x 6 at the points, for all channels and tiles of a strip. Tiles lie 4 apart and overlap
// where kFrom is 6, so the columns of a whole row of tiles are transformed first, each once.
template <int kFrom, class Transform>
LANES_INLINE void to_points(const WinogradTile& t, Transform transform) {
  alignas(64) float columns[kMostColumns * 6 * kWidth];
  const std::int64_t point = t.point;
  for (int c = 0; c < t.channels; ++c)
    for (int tile_row = 0; tile_row < t.tile_rows; ++tile_row)
      for (int part = 0; part < kParts; ++part) {
        columns_to_points<kFrom>(t, t.map + c * t.map_plane + part * kWidth, tile_row, columns, transform);
        float* const first = t.points + c * t.point_channel + tile_row * t.tile_columns * kLanes + part * kWidth;
        for (int i = 0; i < 6; ++i) {
          const float* from = columns + i * kWidth;
          float* to = first + i * 6 * point;
          for (int tile = 0; tile < t.tile_columns; ++tile, from += 24 * kWidth, to += kLanes) {
            vf in[kFrom], v[6];
#pragma GCC unroll 6
            for (int j = 0; j < kFrom; ++j) {
              in[j] = load(from + j * 6 * kWidth);
              keep(in[j]);
            }
            transform(in, v);
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j) store(to + j * point, v[j]);
          }
        }
      }
}

inline void winograd_inputs(const WinogradTile& t) {
  to_points<6>(t, [](const vf(&x)[6], vf(&v)[6]) __attribute__((always_inline)) { SixPoints::inputs(x, v); });
}

inline void winograd_gradients(const WinogradTile& t) {
  to_points<4>(t, [](const vf(&d)[4], vf(&v)[6]) __attribute__((always_inline)) { SixPoints::gradients(d, v); });
}

inline void winograd_outputs(const WinogradTile& t) {
  for (int c = 0; c < t.channels; ++c)
    for (int tile = 0; tile < t.tile_rows * t.tile_columns; ++tile)
      for (int part = 0; part < kParts; ++part) {
        const float* from = t.points + c * t.point_channel + tile * kLanes + part * kWidth;
        vf half[6][4];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          vf m[6];
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) {
            m[i] = load(from + (i * 6 + j) * t.point);
            keep(m[i]);
          }
          SixPoints::outputs(m, half[j]);
        }
        const int row = 4 * (t.first_tile_row + tile / t.tile_columns),
                  column = 4 * (t.first_tile_column + tile % t.tile_columns);
        float* to = t.map + c * t.map_plane + row * t.map_row + column * kLanes + part * kWidth;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          if (row + i >= t.rows) break;
          vf y[4];
          const vf m[6] = {half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]};
          SixPoints::outputs(m, y);
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j)
            if (column + j < t.columns) store(to + i * t.map_row + j * kLanes, y[j]);
        }
      }
}

// f32 [36][count] -> (+)= f32 [count][9]
inline void winograd_weights(const float* sums, std::int64_t count, float* out, bool accumulate) {
  for (std::int64_t first = 0; first < count; first += kWidth) {
    const int here = static_cast<int>(count - first < kWidth ? count - first : kWidth);
    const auto at = [&](int point) __attribute__((always_inline)) {
      if (here == kWidth) return load(sums + point * count + first);
      vf some{};
      for (int i = 0; i < here; ++i) some[i] = sums[point * count + first + i];
      return some;
    };
    vf half[6][3];
    for (int i = 0; i < 6; ++i) {
      const vf s[6] = {at(6 * i), at(6 * i + 1), at(6 * i + 2), at(6 * i + 3), at(6 * i + 4), at(6 * i + 5)};
      SixPoints::weights(s, half[i]);
    }
    float nine[9][kWidth];
    for (int j = 0; j < 3; ++j) {
      const vf s[6] = {half[0][j], half[1][j], half[2][j], half[3][j], half[4][j], half[5][j]};
      vf w[3];
      SixPoints::weights(s, w);
      for (int i = 0; i < 3; ++i) store(nine[3 * i + j], w[i]);
    }
    float* to = out + first * 9;
    for (int i = 0; i < here; ++i)
      for (int k = 0; k < 9; ++k, ++to) *to = accumulate ? *to + nine[k][i] : nine[k][i];
  }
}

inline void list_winograd(KernelTable& table) {
  table.winograd_inputs = winograd_inputs;
  table.winograd_gradients = winograd_gradients;
  table.winograd_outputs = winograd_outputs;
  table.winograd_weights = winograd_weights;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
