#include "mnistcnn/engine/lanes/winograd.h"

#include <algorithm>
#include <array>

#include "mnistcnn/engine/lanes/points.h"
#include "mnistcnn/engine/lanes/weight_points.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kPoints = 36;
constexpr std::int64_t kStripBytes = 512 << 10;

// How the last strip of a row or column of strips fits the map: all strips are of one size and it overlaps the one
// before, or it is smaller.
enum class LastStrip { kOverlaps, kIsSmaller };

// Strips of at least `least` tiles, and as many rows as stay in the cache.
WinogradStrips strips_of(const WinogradShape& shape, int least, LastStrip last) {
  const int columns = equal_part(shape.tile_columns(), kMostTilesAbreast);
  const std::int64_t bytes_per_row = (shape.in.channels + shape.out.channels) * kPoints * columns * kLanes * 4;
  const int fit = std::max({1, integer(kStripBytes / bytes_per_row), (least + columns - 1) / columns});
  int rows = equal_part(shape.tile_rows(), fit);
  while (last == LastStrip::kOverlaps && shape.tile_rows() % rows != 0) --rows;  // else tiles are computed twice
  WinogradStrips strips{{0, 0, rows, columns}, {}};
  for (int row = 0; row < shape.tile_rows(); row += rows)
    for (int column = 0; column < shape.tile_columns(); column += columns) {
      const int rows_left = shape.tile_rows() - row, columns_left = shape.tile_columns() - column;
      if (last == LastStrip::kIsSmaller)
        strips.each.push_back({row, column, std::min(rows, rows_left), std::min(columns, columns_left)});
      else
        strips.each.push_back(
            {row + std::min(0, rows_left - rows), column + std::min(0, columns_left - columns), rows, columns});
    }
  return strips;
}

Axis single_position(int outputs) { return forward_axis(outputs, outputs, 1, 1, 0, 1); }

std::array<double, kPoints> flipped_kernel_at_points(const float* weights) {
  const auto w = [&](int i, int j) { return double{weights[8 - (3 * i + j)]}; };
  std::array<std::array<double, 6>, 3> rows;
  for (int i = 0; i < 3; ++i) rows[static_cast<std::size_t>(i)] = at_six_points(w(i, 0), w(i, 1), w(i, 2));
  std::array<double, kPoints> points;
  for (std::size_t j = 0; j < 6; ++j) {
    const auto column = at_six_points(rows[0][j], rows[1][j], rows[2][j]);
    for (std::size_t i = 0; i < 6; ++i) points[i * 6 + j] = column[i];
  }
  return points;
}

std::int64_t point_distance(const Extent& extent, const WinogradStrips& strips) {
  return odd_lines(extent.channels * strips.tiles());
}

std::int64_t points_size(const Extent& extent, const WinogradStrips& strips) {
  return kPoints * point_distance(extent, strips);
}

WinogradTile strip_tile(View map, const Extent& extent, const WinogradStrips& strips,
                        const WinogradStrips::Strip& strip) {
  WinogradTile t{};
  set_map(t, map, extent);
  t.first_tile_row = strip.row;
  t.first_tile_column = strip.column;
  t.tile_rows = strip.rows;
  t.tile_columns = strip.columns;
  t.point_channel = strips.tiles() * kLanes;
  t.point = point_distance(extent, strips);
  return t;
}

}  // namespace

WinogradCorrelation::WinogradCorrelation(const KernelTable& kernels, const WinogradShape& shape)
    : kernels_(&kernels),
      shape_(shape),
      strips_(strips_of(shape, 6, LastStrip::kOverlaps)),
      product_(kernels, {1, integer(shape.in.channels), integer(shape.out.channels)}, single_position(1),
               single_position(strips_.tiles()), {}),
      product_tiles_(product_.row_tiles()) {}

std::int64_t WinogradCorrelation::workspace_size() const {
  return points_size(shape_.in, strips_) + points_size(shape_.out, strips_);
}

void WinogradCorrelation::pack(int job, const float* weights, float* packed) const {
  const std::int64_t channels = shape_.in.channels, outputs = shape_.out.channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* const nine = weights + (c * outputs + job) * 9;
    const std::array<double, kPoints> points = flipped_kernel_at_points(nine);
    float* to = packed + product_.place_of(job, integer(c));
    for (const double each : points) {
      *to = static_cast<float>(each);
      to += product_.packed_size();
    }
  }
}

void WinogradCorrelation::multiply_strip(const float* inputs, const float* packed, float* products) const {
  const std::int64_t row = strips_.tiles() * kLanes;
  ConvolutionTile t{};
  t.x_plane = t.y_plane = row;
  t.x_step = t.y_step = kLanes;
  t.channels = integer(shape_.in.channels);
  t.kernel_rows = t.kernel_columns = t.end_row = t.end_column = 1;
  for (int point = 0; point < kPoints; ++point) {
    for (const Correlation::Tile& tile : product_tiles_) {
      t.x = inputs + tile.column * kLanes;
      t.w = packed + tile.output * shape_.in.channels;
      t.y = products + tile.output * row + tile.column * kLanes;
      tile.kernel(t);
    }
    inputs += point_distance(shape_.in, strips_);
    packed += product_.packed_size();
    products += point_distance(shape_.out, strips_);
  }
}

void WinogradCorrelation::run(View x, const float* packed, const float*, View y, float* workspace) const {
  float* const products = workspace + points_size(shape_.in, strips_);
  for (const WinogradStrips::Strip& strip : strips_.each) {
    WinogradTile in = strip_tile(x, shape_.in, strips_, strip), out = strip_tile(y, shape_.out, strips_, strip);
    in.top = shape_.top;
    in.left = shape_.left;
    in.points = workspace;
    out.points = products;
    kernels_->winograd_inputs(in);
    multiply_strip(in.points, packed, out.points);
    kernels_->winograd_outputs(out);
  }
}

WinogradWeightGradient::WinogradWeightGradient(const KernelTable& kernels, const WinogradShape& shape)
    : kernels_(&kernels),
      shape_(shape),
      strips_(strips_of(shape, 8, LastStrip::kIsSmaller)),
      tiles_(weight_tiles(kernels, integer(shape.out.channels), integer(shape.in.channels), strips_.tiles())) {
  for (std::int64_t c = 0; c < shape.in.channels; ++c) taps_.push_back(integer(c * strips_.tiles() * kLanes));
}

std::int64_t WinogradWeightGradient::workspace_size() const {
  return points_size(shape_.in, strips_) + points_size(shape_.out, strips_) +
         kPoints * shape_.in.channels * shape_.out.channels;
}

void WinogradWeightGradient::sum_strip(const float* inputs, const float* gradients, float* sums, int tiles,
                                       bool accumulate) const {
  const std::int64_t channels = shape_.in.channels, outputs = shape_.out.channels, row = strips_.tiles() * kLanes;
  WeightGradientTile t{};
  t.d_plane = t.d_row = t.x_row = row;
  t.x_step = kLanes;
  t.rows = 1;
  t.columns = tiles;
  t.out_row = channels;
  t.accumulate = accumulate;
  for (int point = 0; point < kPoints; ++point) {
    t.x = inputs + point * point_distance(shape_.in, strips_);
    for (const WeightTile& tile : tiles_) {
      t.d = gradients + point * point_distance(shape_.out, strips_) + tile.output * row;
      t.taps = taps_.data() + tile.tap;
      t.out = sums + (point * outputs + tile.output) * channels + tile.tap;
      tile.kernel(t);
    }
  }
}

void WinogradWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace) const {
  float* const gradients = workspace + points_size(shape_.in, strips_);
  float* const sums = gradients + points_size(shape_.out, strips_);
  for (std::size_t i = 0; i < strips_.each.size(); ++i) {
    WinogradTile in = strip_tile(x, shape_.in, strips_, strips_.each[i]);
    in.top = shape_.top;
    in.left = shape_.left;
    in.points = workspace;
    kernels_->winograd_inputs(in);
    WinogradTile gradient = strip_tile(d, shape_.out, strips_, strips_.each[i]);
    gradient.points = gradients;
    kernels_->winograd_gradients(gradient);
    sum_strip(workspace, gradients, sums, strips_.each[i].tiles(), i > 0);
  }
  kernels_->winograd_weights(sums, shape_.in.channels * shape_.out.channels, out, accumulate);
}

}  // namespace mnistcnn::engine::lanes
