#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"
#include "mnistcnn/network/layers.h"

// Direct weight gradients, and their division into register tiles, which the Winograd algorithms use too. Called by
// ops/convolution_op.
namespace mnistcnn::engine::lanes {

// Register tile of a weight gradient: output channels x taps. A tap is an (input channel, kernel position) pair.
struct WeightGradientTile {
  WeightGradientKernel kernel;
  int output, tap;  // first output channel, first tap
  int outputs;      // number of output channels
};

// Divide output channels x taps into register tiles. A cost model selects their shape for maps of `positions`
// positions.
std::vector<WeightGradientTile> weight_gradient_tiles(const KernelTable& kernels, int outputs, int taps,
                                                      std::int64_t positions);

// Return the register tiles of a part, and its range of output channels, which may be empty. All tiles of an output
// channel belong to the same part.
struct PartOfOutputs {
  std::span<const WeightGradientTile> tiles;
  int first, outputs;
};
PartOfOutputs outputs_of_part(std::span<const WeightGradientTile> tiles, int outputs, Part part);

inline constexpr std::int64_t kTileSums = std::int64_t{kMaxTileSums} * kLanes;  // memory for the sums of a tile, floats

// Weight gradient of any convolution: a direct sum over the positions of the map, then over the images.
class DirectWeightGradient {
 public:
  // input: layout of the padded input.
  DirectWeightGradient(const KernelTable& kernels, const network::Conv2d& layer, const PaddedLayout& input,
                       const Extent& output);

  static constexpr bool kPartsRepeatWork = false;

  std::int64_t workspace_size() const { return rows_per_step_ < rows_ ? tiles_per_step() * kTileSums : 0; }  // floats
  // x: padded input, d: output gradient, out: f32 [outputs][channels of a group][kernel rows][kernel columns].
  // accumulate: add to `out`. Parts are register tiles. 1x1 kernels: each tile reads the whole map, so up to 64
  // tiles add a few rows at a time, which they read from L2.
  void run(View x, View d, float* out, bool accumulate, float* workspace, Part part = {}) const;

  // The register tiles of one group, in the order of their output channels.
  const std::vector<WeightGradientTile>& tiles() const { return tiles_; }
  // Add `rows` of the map to the sums of one tile. Called for all rows in ascending order; the last call writes `out`.
  // x: the whole padded input. d: output gradients of the tile's channels; its first row is the first of `rows`.
  // sums: f32 [sums of the tile][16], kept between the calls.
  void add_rows(const WeightGradientTile& tile, IndexRange rows, View x, View d, float* sums, float* out,
                bool accumulate) const;

 private:
  // Return the number of tiles whose sums are in the workspace: at most 112 KiB.
  std::int64_t tiles_per_step() const {
    return std::min<std::int64_t>(64, groups_ * static_cast<std::int64_t>(tiles_.size()));
  }

  std::int64_t groups_, channels_, outputs_;  // channels and outputs of one group
  network::Pair stride_;
  int rows_, columns_;                     // of the output
  int rows_per_step_ = rows_;              // that a tile adds per call of its kernel
  std::vector<WeightGradientTile> tiles_;  // of one group
  std::vector<std::int32_t> taps_;         // offset of each tap in the input, in floats
};

}  // namespace mnistcnn::engine::lanes
