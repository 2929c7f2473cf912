#include "mnistcnn/engine/lanes/conv/direct_convolution.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace mnistcnn::engine::lanes {
namespace {

// Cache budgets in bytes: for input rows that all output channels read again, and for weights or planes in L2.
constexpr std::int64_t kRowsBudget = 96 << 10, kL2Budget = 448 << 10;
constexpr int kMinChannels = 16;  // per chunk
// Size of the outputs of a block, in bytes, from which they are prefetched. A tile writes a few positions of each of
// its channels, which the hardware prefetcher does not follow.
constexpr std::int64_t kPrefetchedOutputs = 256 << 10;

// Return the kernel positions [first, end) whose input is inside the map for at least one of `count` outputs, beginning
// at `output`.
std::pair<int, int> positions_inside(const Axis& axis, int output, int count) {
  const auto is_inside = [&](int k) {
    for (int i = output; i < output + count; ++i) {
      const int at = axis.offset[static_cast<std::size_t>(k)] + i * axis.step;
      if (at >= 0 && at < axis.inputs) return true;
    }
    return false;
  };
  const int size = static_cast<int>(axis.offset.size());
  int first = 0, end = size;
  while (first < end && !is_inside(first)) ++first;
  while (end > first && !is_inside(end - 1)) --end;
  return {first, end};
}

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

DirectConvolution::DirectConvolution(const KernelTable& kernels, Sizes sizes, Axis rows, Axis columns,
                                     WeightStrides strides)
    : kernels_(&kernels), sizes_(sizes), rows_(std::move(rows)), columns_(std::move(columns)), strides_(strides) {
  const std::vector<int>& offset = columns_.offset;
  const bool plain = columns_.step == 1 && columns_.output_step == 1;
  width_3_ = plain && offset.size() == 3 && offset[1] == offset[0] + 1 && offset[2] == offset[0] + 2;
  is_1x1_ = plain && offset.size() == 1 && rows_.offset.size() == 1;
  for (const int each : offset) column_offsets_.push_back((each - offset[0]) * kLanes);
  for (int row = 0; row < rows_.outputs; ++row) row_ranges_.push_back(positions_inside(rows_, row, 1));
  select_tiles();
}

std::int64_t DirectConvolution::group_weights() const {
  return std::int64_t{sizes_.outputs} * sizes_.channels * static_cast<std::int64_t>(rows_.offset.size()) *
         static_cast<std::int64_t>(columns_.offset.size());
}

// ---- register tiles

// Return the kernel for a tile, or nullptr if there is none of this shape.
ConvolutionKernel DirectConvolution::kernel_of(int outputs, const ColumnTile& tile) const {
  if (outputs > kMaxTileChannels || tile.count > kMaxTileColumns) return nullptr;
  if (width_3_) return kernels_->convolve3[outputs][tile.count][tile.left][tile.right];
  return is_1x1_ ? kernels_->convolve1[outputs][tile.count] : kernels_->convolve[outputs][tile.count];
}

// Make column tiles of the given ranges. Return false if the kernel of a tile cannot skip the columns outside the map,
// so the map needs zero padding.
bool DirectConvolution::make_column_tiles(const std::vector<IndexRange>& columns,
                                          std::vector<ColumnTile>& tiles) const {
  tiles.clear();
  bool skips = width_3_;
  for (const IndexRange& range : columns) {
    const auto [first_column, end_column] = positions_inside(columns_, range.first, range.count);
    ColumnTile tile{range.first, range.count, 0, 0, first_column, end_column};
    if (width_3_) {
      const int from = columns_.offset[0] + range.first;
      tile.left = std::max(0, -from);
      tile.right = std::max(0, from + range.count + 2 - columns_.inputs);
      const bool has_kernel =
          tile.left <= 2 && tile.right <= 2 && kernels_->convolve3[1][1][tile.left][tile.right] != nullptr;
      if (!has_kernel) tile.left = tile.right = 0, skips = false;
    }
    tiles.push_back(tile);
  }
  return skips || (columns_.before() == 0 && columns_.after() == 0);
}

// Estimate the cycles for one kernel row: multiply-adds and loads at two per cycle, at least their latency. Loads of
// inputs count twice if a vector has several registers (AVX2). Then tiles are smaller, so that the inputs are read for
// more tiles of outputs, often from L2: on Zen 3, tiles of 6 x 2 take 10 % less time than 2 x 6.
double DirectConvolution::tile_cost(int outputs, const ColumnTile& tile) const {
  const double loads_per_input = kernels_->vector_lanes < kLanes ? 2 : 1;
  const auto position_cost = [&](int columns) {
    const double o = outputs, t = columns;
    const double loads = (o + loads_per_input * t) * (is_1x1_ ? 0.75 : 0.5);
    return columns <= 0 ? 0.0 : std::max({o * t * 0.5, loads, 4.0});
  };
  double cost = 0;
  const int kernel_columns = static_cast<int>(columns_.offset.size());
  for (int k = 0; k < kernel_columns; ++k) {
    if (width_3_) {
      const int low = std::max(0, tile.left - k), high = std::min(tile.count, tile.count + 2 - tile.right - k);
      cost += position_cost(high - low);
    } else if (k >= tile.first_column && k < tile.end_column) {
      cost += position_cost(tile.count) + 1;
    }
  }
  return cost;
}

// Estimate the cycles of the convolution of one block, with calls and stores.
double DirectConvolution::cost_of(const std::vector<IndexRange>& outputs,
                                  const std::vector<ColumnTile>& columns) const {
  const double registers = kLanes / kernels_->vector_lanes;  // per vector
  double rows = 0;
  for (const auto& [first, end] : row_ranges_) rows += end - first;
  double sum = 0;
  for (const IndexRange& range : outputs)
    for (const ColumnTile& tile : columns)
      sum += registers * (sizes_.channels * rows * (tile_cost(range.count, tile) + 1) +
                          rows_.outputs * (range.count * tile.count * 1.5 + 22));
  return sum * sizes_.groups;
}

void DirectConvolution::select_tiles() {
  double best = std::numeric_limits<double>::infinity();
  std::vector<ColumnTile> columns;
  for (int o = 1; o <= std::min(kMaxTileChannels, sizes_.outputs); ++o)
    for (int t = 1; t <= std::min(kMaxTileColumns, columns_.outputs); ++t) {
      const std::vector<IndexRange> outputs = split_evenly(sizes_.outputs, o);
      const bool skips = make_column_tiles(split_evenly(columns_.outputs, t), columns);
      const bool has_kernels = std::ranges::all_of(outputs, [&](const IndexRange& range) {
        return std::ranges::all_of(columns,
                                   [&](const ColumnTile& tile) { return kernel_of(range.count, tile) != nullptr; });
      });
      if (!has_kernels) continue;
      const double cost = cost_of(outputs, columns) * (skips ? 1 : 1.02);
      if (cost >= best) continue;
      best = cost;
      output_tiles_ = outputs;
      column_tiles_ = columns;
      skips_padding_ = skips;
    }
  for (const IndexRange& outputs : output_tiles_)
    for (const ColumnTile& tile : column_tiles_) tile_kernels_.push_back(kernel_of(outputs.count, tile));
}

std::vector<DirectConvolution::RegisterTile> DirectConvolution::register_tiles() const {
  std::vector<RegisterTile> tiles;
  const ConvolutionKernel* kernel = tile_kernels_.data();
  for (const IndexRange& outputs : output_tiles_)
    for (const ColumnTile& columns : column_tiles_) tiles.push_back({*kernel++, outputs.first, columns.first});
  return tiles;
}

// ---- packed weights: [group][output tile][channel][kernel row][kernel column][output of the tile]

void DirectConvolution::pack(int task, const float* weights, float* packed) const {
  const int tiles = static_cast<int>(output_tiles_.size()), group = task / tiles;
  const IndexRange& tile = output_tiles_[static_cast<std::size_t>(task % tiles)];
  const std::int64_t output_weights = group_weights() / sizes_.outputs;
  float* to = packed + group * group_weights() + tile.first * output_weights;
  const float* first = weights + group * strides_.group + tile.first * strides_.output;
  for (int c = 0; c < sizes_.channels; ++c)
    for (const int row : rows_.source)
      for (const int column : columns_.source) {
        const float* from = first + c * strides_.channel + row * strides_.row + column;
        for (int o = 0; o < tile.count; ++o) *to++ = from[o * strides_.output];
      }
}

std::int64_t DirectConvolution::packed_offset(int output, int channel, int position) const {
  const auto holds = [&](const IndexRange& range) { return output < range.first + range.count; };
  const IndexRange& tile = *std::ranges::find_if(output_tiles_, holds);
  const std::int64_t positions = static_cast<std::int64_t>(rows_.offset.size() * columns_.offset.size());
  return positions * tile.first * sizes_.channels + (positions * channel + position) * tile.count +
         (output - tile.first);
}

// ---- computation

// Compute one row of outputs of one output tile. The caller sets the members of `args` that do not depend on the row.
void DirectConvolution::run_row(ConvolutionArguments& args, View x, View y, int output_tile, int row) const {
  const IndexRange& outputs = output_tiles_[static_cast<std::size_t>(output_tile)];
  const int first_offset = rows_.offset.empty() ? 0 : rows_.offset[0];
  const int first_column = columns_.offset.empty() ? 0 : columns_.offset[0];
  const float* x_row = x.data + (first_offset + row * rows_.step) * x.row + first_column * kLanes;
  float* y_row = y.data + outputs.first * y.plane + (rows_.first_output + row * rows_.output_step) * y.row;
  args.first_row = row_ranges_[static_cast<std::size_t>(row)].first;
  args.end_row = row_ranges_[static_cast<std::size_t>(row)].second;
  const ConvolutionKernel* kernel = tile_kernels_.data() + static_cast<std::size_t>(output_tile) * column_tiles_.size();
  for (const ColumnTile& tile : column_tiles_) {
    args.x = x_row + tile.first * columns_.step * kLanes;
    args.y = y_row + (columns_.first_output + tile.first * columns_.output_step) * kLanes;
    args.first_column = tile.first_column;
    args.end_column = tile.end_column;
    (*kernel++)(args);
  }
}

DirectConvolution::CacheBlocking DirectConvolution::cache_blocking(View x) const {
  const std::int64_t kernel_rows = static_cast<std::int64_t>(rows_.offset.size());
  const std::int64_t row_bytes = x.row * 4 * std::max<std::int64_t>(1, kernel_rows), plane_bytes = x.plane * 4;
  int chunk = sizes_.channels;
  if (sizes_.channels * row_bytes > kRowsBudget && output_tiles_.size() > 1)
    chunk = std::max(kMinChannels, static_cast<int>(kRowsBudget / row_bytes));
  const bool rows_innermost = group_weights() * 4 > kL2Budget;
  if (rows_innermost) chunk = std::max(kMinChannels, static_cast<int>(kL2Budget / plane_bytes));
  return {std::min(chunk, sizes_.channels), rows_innermost};
}

// Compute the outputs of one group over `args.channels` input channels, beginning at `first_channel`. packed, bias: of
// the group.
void DirectConvolution::run_channels(ConvolutionArguments& args, View x, const float* packed, const float* bias, View y,
                                     int first_channel, bool rows_innermost, Part part) const {
  const std::int64_t positions = std::int64_t{args.kernel_rows} * args.kernel_columns;
  const int tiles = static_cast<int>(output_tiles_.size());
  const auto run_tile = [&](int row, int tile) {
    const IndexRange& outputs = output_tiles_[static_cast<std::size_t>(tile)];
    args.w = packed + outputs.first * sizes_.channels * positions + first_channel * positions * outputs.count;
    args.bias = bias ? bias + outputs.first : nullptr;
    run_row(args, x, y, tile, row);
  };
  const IndexRange own = part.of(rows_.outputs * tiles);
  for (int i = own.first; i < own.first + own.count; ++i) {
    if (rows_innermost)
      run_tile(i % rows_.outputs, i / rows_.outputs);
    else
      run_tile(i / tiles, i % tiles);
  }
}

void DirectConvolution::run(View x, const float* packed, const float* bias, View y, float*, Part part) const {
  ConvolutionArguments args{};
  args.kernel_rows = static_cast<int>(rows_.offset.size());
  args.kernel_columns = static_cast<int>(columns_.offset.size());
  args.x_plane = x.plane;
  args.x_row = x.row * (args.kernel_rows > 1 ? rows_.offset[1] - rows_.offset[0] : 1);
  args.x_step = columns_.step * kLanes;
  args.column_offsets = column_offsets_.data();
  args.y_plane = y.plane;
  args.y_step = columns_.output_step * kLanes;
  args.prefetch_outputs = std::int64_t{sizes_.groups} * sizes_.outputs * y.plane * 4 >= kPrefetchedOutputs;
  const CacheBlocking blocking = cache_blocking(x);
  for (int group = 0; group < sizes_.groups; ++group)
    for (int c = 0; c < sizes_.channels; c += blocking.channels) {
      args.channels = std::min(blocking.channels, sizes_.channels - c);
      args.accumulate = c > 0;
      const View from{x.data + (group * sizes_.channels + c) * x.plane, x.plane, x.row};
      const View to{y.data + group * sizes_.outputs * y.plane, y.plane, y.row};
      const float* const group_bias = bias ? bias + group * sizes_.outputs : nullptr;
      run_channels(args, from, packed + group * group_weights(), group_bias, to, c, blocking.rows_innermost, part);
    }
}

}  // namespace mnistcnn::engine::lanes
