#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/value.h"

namespace mnistcnn::engine::lanes {

// One direction of a correlation: output i takes, for each kernel position k, input offset[k] + i * step.
struct Axis {
  std::vector<int> source;  // which position of the weights each kernel position is
  std::vector<int> offset;  // ascending; may reach outside the inputs
  int step = 1;
  int inputs = 0, outputs = 0;
  int first_output = 0, output_step = 1;  // where output i goes: first_output + i * output_step

  int before() const;  // inputs needed in front of the map
  int after() const;   // and behind it
};

// The axis of a convolution, and the axes that together give its input's gradient: one for each remainder of the
// position by the stride.
Axis forward_axis(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                  std::int64_t padding, std::int64_t dilation);
std::vector<Axis> gradient_axes(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                                std::int64_t padding, std::int64_t dilation);

// How to find a weight in PyTorch's [out, in / groups, height, width]; the input gradient exchanges out and in.
struct WeightStrides {
  std::int64_t group, output, channel, row;
};

// y[o] = sum over channels and kernel positions of w * x, cut into register tiles for one instruction set.
class Correlation {
 public:
  struct Sizes {
    int groups, channels, outputs;  // channels and outputs of one group
  };

  Correlation(const KernelTable& kernels, Sizes sizes, Axis rows, Axis columns, WeightStrides strides);

  // Whether the input needs zeros around it in memory; else what lies outside is never read.
  bool needs_column_border() const { return !skips_columns_; }
  std::int64_t packed_size() const { return sizes_.groups * group_weights(); }  // floats
  std::int64_t workspace_size() const { return 0; }
  double cost() const { return cost_; }

  int packing_jobs() const { return sizes_.groups * static_cast<int>(output_tiles_.size()); }
  std::int64_t packing_work() const { return group_weights() / static_cast<std::int64_t>(output_tiles_.size()); }
  void pack(int job, const float* weights, float* packed) const;
  // Where a weight without groups lies in packed memory, for those who pack themselves.
  std::int64_t place_of(int output, int channel, int position = 0) const;

  // The register tiles of a row, for those who call the kernels themselves.
  struct Tile {
    ConvolutionKernel kernel;
    int output, column;  // first of each
  };
  std::vector<Tile> row_tiles() const;

  void run(View x, const float* packed, const float* bias, View y, float* workspace = nullptr) const;

 private:
  struct ColumnTile {
    int first, count;
    int left, right;               // input columns outside the map
    int first_column, end_column;  // kernel columns that touch the map
  };
  struct Part {
    int first, count;
  };

  std::int64_t group_weights() const;
  void choose_tiles();
  bool columns_fit(const std::vector<Part>& parts, std::vector<ColumnTile>& tiles) const;
  double cost_of(const std::vector<Part>& outputs, const std::vector<ColumnTile>& columns) const;
  bool has_kernel(int outputs, const ColumnTile& tile) const;
  ConvolutionKernel kernel_of(int outputs, const ColumnTile& tile) const;
  void run_rows(ConvolutionTile& t, View x, const float* packed, View y, int output_tile, int row) const;

  const KernelTable* kernels_;
  Sizes sizes_;
  Axis rows_, columns_;
  WeightStrides strides_;
  bool three_wide_ = false, one_ = false, skips_columns_ = false;
  double cost_ = 0;
  std::vector<Part> output_tiles_;
  std::vector<ColumnTile> column_tiles_;
  std::vector<ConvolutionKernel> tile_kernels_;  // [output tile][column tile]
  std::vector<std::int32_t> column_offsets_;     // floats
  std::vector<std::pair<int, int>> row_ranges_;  // kernel rows that touch the map, of each output row
};

}  // namespace mnistcnn::engine::lanes
