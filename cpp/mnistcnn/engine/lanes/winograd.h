#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/correlation.h"
#include "mnistcnn/engine/lanes/value.h"
#include "mnistcnn/engine/lanes/weight_tiles.h"

namespace mnistcnn::engine::lanes {

// A 3x3 convolution without stride or dilation as it appears to Winograd's method: see kernels/winograd.h.
struct WinogradShape {
  Extent in, out;
  int top = 0, left = 0;  // zeros around the inputs, at most 2

  int tile_rows() const { return static_cast<int>((out.rows + 3) / 4); }
  int tile_columns() const { return static_cast<int>((out.columns + 3) / 4); }
  std::int64_t tiles() const { return std::int64_t{tile_rows()} * tile_columns(); }
  WinogradShape reversed() const { return {out, in, 2 - top, 2 - left}; }  // of the input's gradient
};

// Tiles are worked on in strips whose values at the points stay in the second cache.
struct WinogradStrips {
  struct Strip {
    int row, column;  // its first tile
    int rows, columns;
    int tiles() const { return rows * columns; }
  };
  Strip largest;
  std::vector<Strip> each;
  int tiles() const { return largest.tiles(); }
};

// The gradient of the input. `shape` is its own: from the outputs of the convolution to its inputs.
class WinogradCorrelation {
 public:
  WinogradCorrelation(const KernelTable& kernels, const WinogradShape& shape);

  std::int64_t packed_size() const { return 36 * product_.packed_size(); }  // floats
  std::int64_t workspace_size() const;                                      // floats
  int packing_jobs() const { return static_cast<int>(shape_.out.channels); }
  std::int64_t packing_work() const { return 36 * shape_.in.channels; }
  // Of PyTorch's [output, channel, 3, 3]; the outputs are what comes in here.
  void pack(int job, const float* weights, float* packed) const;
  void run(View x, const float* packed, const float* bias, View y, float* workspace) const;  // without a bias

 private:
  void multiply_strip(const float* inputs, const float* packed, float* products) const;

  const KernelTable* kernels_;
  WinogradShape shape_;
  WinogradStrips strips_;
  Correlation product_;  // over the channels at one point: a 1x1 convolution of a row of tiles
  std::vector<Correlation::Tile> product_tiles_;
};

class WinogradWeightGradient {
 public:
  WinogradWeightGradient(const KernelTable& kernels, const WinogradShape& shape);

  std::int64_t workspace_size() const;  // floats
  // f32 [outputs][channels][3][3]
  void run(View x, View d, float* out, bool accumulate, float* workspace) const;

 private:
  void sum_strip(const float* inputs, const float* gradients, float* sums, int tiles, bool accumulate) const;

  const KernelTable* kernels_;
  WinogradShape shape_;
  WinogradStrips strips_;
  std::vector<WeightTile> tiles_;
  std::vector<std::int32_t> taps_;
};

}  // namespace mnistcnn::engine::lanes
