#include "mnistcnn/engine/lanes/ops/row_wise_gradient.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {
namespace {

// Vectors of output gradients that are computed at a time: 16 of 32 KiB of L1.
constexpr int kVectorsPerStep = 256;

PaddedLayout layout_of(int channels, int rows, const Extent& map) { return {{channels, rows, map.columns}, {}}; }

// Return the tiles [first, end) with the same output channels as the tile `first`.
IndexRange tiles_with_same_outputs(const std::vector<WeightGradientTile>& tiles, int first, int end) {
  int i = first;
  while (i < end && tiles[to_size(i)].output == tiles[to_size(first)].output) ++i;
  return {first, i - first};
}

}  // namespace

RowWiseGradient::RowWiseGradient(const DirectWeightGradient& weights, const Extent& map, const PointwiseOp& reader)
    : weights_(&weights), map_(map), reader_(&reader) {
  const std::vector<WeightGradientTile>& tiles = weights.tiles();
  const int end = static_cast<int>(tiles.size());
  for (int first = 0; first < end;) {
    const IndexRange range = tiles_with_same_outputs(tiles, first, end);
    const int channels = tiles[to_size(first)].outputs, rows = rows_per_step(channels);
    // The last step has one more row if no window of the pool covers the last row of the map.
    const int input_rows = reader.input_rows({0, rows}).count + 1;
    gradient_size_ = std::max(gradient_size_, layout_of(channels, input_rows, map).size());
    sums_size_ = std::max<std::int64_t>(sums_size_, range.count * kTileSums + channels * kLanes);
    first += range.count;
  }
}

// Return the number of the reader's output rows per step.
int RowWiseGradient::rows_per_step(int channels) const {
  const int input_rows = reader_->input_rows({0, 1}).count;
  const int rows = kVectorsPerStep / (channels * input_rows * integer(map_.columns));
  return std::clamp(rows, 1, reader_->output_rows());
}

void RowWiseGradient::run(const BlockContext& block, View x, float* weights, float* bias, float* workspace) const {
  const std::vector<WeightGradientTile>& tiles = weights_->tiles();
  const IndexRange own = block.part.of(static_cast<int>(tiles.size()));
  for (int first = own.first, end = own.first + own.count; first < end;) {
    const IndexRange range = tiles_with_same_outputs(tiles, first, end);
    add_tiles(block, range, x, weights, bias, workspace);
    first += range.count;
  }
}

// tiles: with the same output channels.
void RowWiseGradient::add_tiles(const BlockContext& block, IndexRange tiles, View x, float* weights, float* bias,
                                float* workspace) const {
  const WeightGradientTile* const first = weights_->tiles().data() + tiles.first;
  const IndexRange channels{first->output, first->outputs};
  // Only the part with the first tap of these channels sums the gradients of their biases.
  const bool sums_bias = bias != nullptr && first->tap == 0;
  float* const sums = workspace + gradient_size_;
  float* const bias_sums = sums + tiles.count * kTileSums;
  if (sums_bias) std::fill_n(bias_sums, channels.count * kLanes, 0.0f);
  const KernelTable& kernels = *block.batch.kernels;
  const bool accumulates = block.accumulates_partial();
  const int rows = reader_->output_rows(), step = rows_per_step(channels.count);
  for (int row = 0; row < rows; row += step) {
    const MapRange range{channels, {row, std::min(step, rows - row)}};
    const IndexRange map_rows = reader_->input_rows(range.rows);
    const View d = layout_of(channels.count, map_rows.count, map_).view(workspace);
    reader_->compute_gradient(block, range, d);
    for (int i = 0; i < tiles.count; ++i)
      weights_->add_rows(first[i], map_rows, x, d, sums + i * kTileSums, weights, accumulates);
    if (sums_bias)
      kernels.sum_over_positions(d.data, d.plane, d.row, channels.count, map_rows.count, integer(map_.columns),
                                 bias_sums);
  }
  if (sums_bias) kernels.sum_over_images(bias_sums, channels.count, accumulates, bias + channels.first);
}

}  // namespace mnistcnn::engine::lanes
