#include "mnistcnn/engine/lanes/correlation.h"

#include <algorithm>
#include <limits>

namespace mnistcnn::engine::lanes {
namespace {

// Kernel positions [first, end) that see a part of the inputs from at least one of `count` outputs from `output` on.
std::pair<int, int> touching(const Axis& axis, int output, int count) {
  const auto touches = [&](int k) {
    for (int i = output; i < output + count; ++i) {
      const int at = axis.offset[static_cast<std::size_t>(k)] + i * axis.step;
      if (at >= 0 && at < axis.inputs) return true;
    }
    return false;
  };
  const int size = static_cast<int>(axis.offset.size());
  int first = 0, end = size;
  while (first < end && !touches(first)) ++first;
  while (end > first && !touches(end - 1)) --end;
  return {first, end};
}

// n as nearly equal parts of at most `most`.
template <class Part>
std::vector<Part> split(int n, int most) {
  std::vector<Part> parts;
  const int count = (n + most - 1) / most;
  for (int i = 0, at = 0; i < count; ++i) {
    const int size = n / count + (i < n % count ? 1 : 0);
    parts.push_back({at, size});
    at += size;
  }
  return parts;
}

constexpr std::int64_t kNearCache = 96 << 10, kSecondCache = 448 << 10;  // bytes that should stay at hand

}  // namespace

int Axis::before() const { return offset.empty() ? 0 : std::max(0, -offset.front()); }
int Axis::after() const {
  return offset.empty() ? 0 : std::max(0, offset.back() + (outputs - 1) * step - (inputs - 1));
}

Axis forward_axis(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                  std::int64_t padding, std::int64_t dilation) {
  Axis axis;
  axis.step = static_cast<int>(stride);
  axis.inputs = static_cast<int>(inputs);
  axis.outputs = static_cast<int>(outputs);
  for (std::int64_t k = 0; k < kernel; ++k) {
    axis.source.push_back(static_cast<int>(k));
    axis.offset.push_back(static_cast<int>(k * dilation - padding));
  }
  return axis;
}

std::vector<Axis> gradient_axes(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                                std::int64_t padding, std::int64_t dilation) {
  std::vector<Axis> axes;
  for (std::int64_t first = 0; first < std::min(stride, inputs); ++first) {
    Axis axis;
    axis.inputs = static_cast<int>(outputs);
    axis.outputs = static_cast<int>((inputs - first + stride - 1) / stride);
    axis.first_output = static_cast<int>(first);
    axis.output_step = static_cast<int>(stride);
    for (std::int64_t k = kernel - 1; k >= 0; --k) {
      const std::int64_t at = first + padding - k * dilation;
      if (at % stride != 0) continue;
      axis.source.push_back(static_cast<int>(k));
      axis.offset.push_back(static_cast<int>(at / stride));
    }
    axes.push_back(std::move(axis));
  }
  return axes;
}

Correlation::Correlation(const KernelTable& kernels, Sizes sizes, Axis rows, Axis columns, WeightStrides strides)
    : kernels_(&kernels), sizes_(sizes), rows_(std::move(rows)), columns_(std::move(columns)), strides_(strides) {
  const std::vector<int>& offset = columns_.offset;
  const bool plain = columns_.step == 1 && columns_.output_step == 1;
  three_wide_ = plain && offset.size() == 3 && offset[1] == offset[0] + 1 && offset[2] == offset[0] + 2;
  one_ = plain && offset.size() == 1 && rows_.offset.size() == 1;
  for (const int each : offset) column_offsets_.push_back((each - offset[0]) * kLanes);
  for (int row = 0; row < rows_.outputs; ++row) row_ranges_.push_back(touching(rows_, row, 1));
  choose_tiles();
}

std::int64_t Correlation::group_weights() const {
  return std::int64_t{sizes_.outputs} * sizes_.channels * static_cast<std::int64_t>(rows_.offset.size()) *
         static_cast<std::int64_t>(columns_.offset.size());
}

bool Correlation::has_kernel(int outputs, const ColumnTile& tile) const { return kernel_of(outputs, tile) != nullptr; }

ConvolutionKernel Correlation::kernel_of(int outputs, const ColumnTile& tile) const {
  if (outputs > kMostTileChannels || tile.count > kMostTileColumns) return nullptr;
  if (three_wide_) return kernels_->convolve3[outputs][tile.count][tile.left][tile.right];
  return one_ ? kernels_->convolve1[outputs][tile.count] : kernels_->convolve[outputs][tile.count];
}

// Column tiles of the given widths. False when some can't skip exactly the columns outside the map: then the map needs
// zeros around it.
bool Correlation::columns_fit(const std::vector<Part>& parts, std::vector<ColumnTile>& tiles) const {
  tiles.clear();
  bool exact = three_wide_;
  for (const Part& part : parts) {
    const auto [first_column, end_column] = touching(columns_, part.first, part.count);
    ColumnTile tile{part.first, part.count, 0, 0, first_column, end_column};
    if (three_wide_) {
      const int from = columns_.offset[0] + part.first;
      tile.left = std::max(0, -from);
      tile.right = std::max(0, from + part.count + 2 - columns_.inputs);
      const bool known =
          tile.left <= 2 && tile.right <= 2 && kernels_->convolve3[1][1][tile.left][tile.right] != nullptr;
      if (!known) tile.left = tile.right = 0, exact = false;
    }
    tiles.push_back(tile);
  }
  return exact || (columns_.before() == 0 && columns_.after() == 0);
}

// Rough processor cycles: multiply-adds and loads at two per cycle, at least their latency, and what a call costs.
double Correlation::cost_of(const std::vector<Part>& outputs, const std::vector<ColumnTile>& columns) const {
  const double parts = kLanes / kernels_->vector_lanes;
  double rows = 0;
  for (const auto& [first, end] : row_ranges_) rows += end - first;
  double sum = 0;
  for (const Part& part : outputs)
    for (const ColumnTile& tile : columns) {
      const auto body = [&](int active) {
        const double o = part.count, t = active;
        const double loads = (o + t) * (one_ ? 0.75 : 0.5);
        return active <= 0 ? 0.0 : std::max({o * t * 0.5, loads, 4.0});
      };
      double position = 0;
      const int kernel_columns = static_cast<int>(columns_.offset.size());
      for (int k = 0; k < kernel_columns; ++k) {
        if (three_wide_) {
          const int low = std::max(0, tile.left - k), high = std::min(tile.count, tile.count + 2 - tile.right - k);
          position += body(high - low);
        } else if (k >= tile.first_column && k < tile.end_column) {
          position += body(tile.count) + 1;
        }
      }
      sum += parts * (sizes_.channels * rows * (position + 1) + rows_.outputs * (part.count * tile.count * 1.5 + 22));
    }
  return sum * sizes_.groups;
}

void Correlation::choose_tiles() {
  cost_ = std::numeric_limits<double>::infinity();
  std::vector<ColumnTile> columns;
  for (int o = 1; o <= std::min(kMostTileChannels, sizes_.outputs); ++o)
    for (int t = 1; t <= std::min(kMostTileColumns, columns_.outputs); ++t) {
      const std::vector<Part> outputs = split<Part>(sizes_.outputs, o);
      const bool skips = columns_fit(split<Part>(columns_.outputs, t), columns);
      const bool possible = std::all_of(outputs.begin(), outputs.end(), [&](const Part& part) {
        return std::all_of(columns.begin(), columns.end(),
                           [&](const ColumnTile& tile) { return has_kernel(part.count, tile); });
      });
      if (!possible) continue;
      const double cost = cost_of(outputs, columns) * (skips ? 1 : 1.02);
      if (cost >= cost_) continue;
      cost_ = cost;
      output_tiles_ = outputs;
      column_tiles_ = columns;
      skips_columns_ = skips;
    }
  for (const Part& outputs : output_tiles_)
    for (const ColumnTile& tile : column_tiles_) tile_kernels_.push_back(kernel_of(outputs.count, tile));
}

// [channel][kernel row][kernel column][output of the tile], tile after tile.
void Correlation::pack(int job, const float* weights, float* packed) const {
  const int tiles = static_cast<int>(output_tiles_.size()), group = job / tiles;
  const Part& tile = output_tiles_[static_cast<std::size_t>(job % tiles)];
  const std::int64_t each = group_weights() / sizes_.outputs;
  float* to = packed + group * group_weights() + tile.first * each;
  const float* first = weights + group * strides_.group + tile.first * strides_.output;
  for (int c = 0; c < sizes_.channels; ++c)
    for (const int row : rows_.source)
      for (const int column : columns_.source) {
        const float* from = first + c * strides_.channel + row * strides_.row + column;
        for (int o = 0; o < tile.count; ++o) *to++ = from[o * strides_.output];
      }
}

std::int64_t Correlation::place_of(int output, int channel, int position) const {
  const auto holds = [&](const Part& part) { return output < part.first + part.count; };
  const Part& tile = *std::find_if(output_tiles_.begin(), output_tiles_.end(), holds);
  const std::int64_t positions = static_cast<std::int64_t>(rows_.offset.size() * columns_.offset.size());
  return positions * tile.first * sizes_.channels + (positions * channel + position) * tile.count +
         (output - tile.first);
}

std::vector<Correlation::Tile> Correlation::row_tiles() const {
  std::vector<Tile> tiles;
  const ConvolutionKernel* kernel = tile_kernels_.data();
  for (const Part& outputs : output_tiles_)
    for (const ColumnTile& columns : column_tiles_) tiles.push_back({*kernel++, outputs.first, columns.first});
  return tiles;
}

void Correlation::run_rows(ConvolutionTile& t, View x, const float* packed, View y, int output_tile, int row) const {
  const Part& outputs = output_tiles_[static_cast<std::size_t>(output_tile)];
  const int first_offset = rows_.offset.empty() ? 0 : rows_.offset[0];
  const int first_column = columns_.offset.empty() ? 0 : columns_.offset[0];
  const float* x_row = x.data + (first_offset + row * rows_.step) * x.row + first_column * kLanes;
  float* y_row = y.data + outputs.first * y.plane + (rows_.first_output + row * rows_.output_step) * y.row;
  t.w = packed;
  t.first_row = row_ranges_[static_cast<std::size_t>(row)].first;
  t.end_row = row_ranges_[static_cast<std::size_t>(row)].second;
  const ConvolutionKernel* kernel = tile_kernels_.data() + static_cast<std::size_t>(output_tile) * column_tiles_.size();
  for (const ColumnTile& tile : column_tiles_) {
    t.x = x_row + tile.first * columns_.step * kLanes;
    t.y = y_row + (columns_.first_output + tile.first * columns_.output_step) * kLanes;
    t.first_column = tile.first_column;
    t.end_column = tile.end_column;
    (*kernel++)(t);
  }
}

void Correlation::run(View x, const float* packed, const float* bias, View y, float*) const {
  const int kernel_rows = static_cast<int>(rows_.offset.size()),
            kernel_columns = static_cast<int>(columns_.offset.size());
  const int tiles = static_cast<int>(output_tiles_.size());
  const std::int64_t row_distance = kernel_rows > 1 ? rows_.offset[1] - rows_.offset[0] : 1;
  ConvolutionTile t{};
  t.x_plane = x.plane;
  t.x_row = x.row * row_distance;
  t.x_step = columns_.step * kLanes;
  t.column_offsets = column_offsets_.data();
  t.y_plane = y.plane;
  t.y_step = columns_.output_step * kLanes;
  t.kernel_rows = kernel_rows;
  t.kernel_columns = kernel_columns;
  // Channels in chunks whose rows stay in the near cache while all output channels pass.
  const std::int64_t bytes_per_channel = x.row * 4 * std::max(1, kernel_rows), plane_bytes = x.plane * 4;
  const std::int64_t weights_per_channel = std::int64_t{kernel_rows} * kernel_columns;
  int chunk = sizes_.channels;
  if (sizes_.channels * bytes_per_channel > kNearCache && tiles > 1)
    chunk = std::max(16, static_cast<int>(kNearCache / bytes_per_channel));
  const bool rows_inside = sizes_.outputs * sizes_.channels * weights_per_channel * 4 > kSecondCache;
  if (rows_inside) chunk = std::max(16, static_cast<int>(kSecondCache / plane_bytes));
  chunk = std::min(chunk, sizes_.channels);
  for (int group = 0; group < sizes_.groups; ++group)
    for (int c = 0; c < sizes_.channels; c += chunk) {
      t.channels = std::min(chunk, sizes_.channels - c);
      t.accumulate = c > 0;
      const View from{x.data + (group * sizes_.channels + c) * x.plane, x.plane, x.row};
      const View to{y.data + group * sizes_.outputs * y.plane, y.plane, y.row};
      const auto one = [&](int row, int tile) {
        const Part& part = output_tiles_[static_cast<std::size_t>(tile)];
        const float* weights = packed + group * group_weights() + part.first * sizes_.channels * weights_per_channel +
                               c * weights_per_channel * part.count;
        t.bias = bias ? bias + group * sizes_.outputs + part.first : nullptr;
        run_rows(t, from, weights, to, tile, row);
      };
      if (rows_inside) {
        for (int tile = 0; tile < tiles; ++tile)
          for (int row = 0; row < rows_.outputs; ++row) one(row, tile);
      } else {
        for (int row = 0; row < rows_.outputs; ++row)
          for (int tile = 0; tile < tiles; ++tile) one(row, tile);
      }
    }
}

}  // namespace mnistcnn::engine::lanes
