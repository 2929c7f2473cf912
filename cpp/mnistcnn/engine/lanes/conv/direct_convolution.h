#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"

// Direct convolution for any kernel size, stride, padding, dilation and groups, for outputs and input gradients. Also
// computes the convolutions in the Winograd domain. Called by ops/convolution_op and the Winograd algorithms.
//
// Register and cache blocking as in Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
// Architectures", 2018, https://arxiv.org/abs/1808.05567, but with images instead of channels in the lanes.
namespace mnistcnn::engine::lanes {

// One axis of a convolution: output i reads the inputs offset[k] + i * step of all kernel positions k.
struct Axis {
  std::vector<int> source;  // index of each kernel position in the weights
  std::vector<int> offset;  // in ascending order; inputs outside the map are zero
  int step = 1;
  int inputs = 0, outputs = 0;
  int first_output = 0, output_step = 1;  // output i is written to first_output + i * output_step

  int before() const;  // positions of zero padding before the map
  int after() const;   // and after it
};

// Return the axis of the forward pass.
Axis forward_axis(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                  std::int64_t padding, std::int64_t dilation);
// Return the axes of the input gradient: one for each remainder of the position by the stride.
std::vector<Axis> gradient_axes(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                                std::int64_t padding, std::int64_t dilation);

// Strides of PyTorch's weights [out, in / groups, height, width], in floats. For the input gradient `output` and
// `channel` are exchanged.
struct WeightStrides {
  std::int64_t group, output, channel, row;
};

// y[o] = bias[o] + sum over input channels and kernel positions of w * x, in register tiles of output channels x
// columns. A cost model selects the shape of the tiles.
class DirectConvolution {
 public:
  struct Sizes {
    int groups, channels, outputs;  // channels and outputs of one group
  };

  DirectConvolution(const KernelTable& kernels, Sizes sizes, Axis rows, Axis columns, WeightStrides strides);

  // Whether the input needs columns of zero padding in memory. If not, memory outside the map is never read.
  bool needs_column_padding() const { return !skips_padding_; }
  std::int64_t packed_size() const { return sizes_.groups * group_weights(); }  // floats
  std::int64_t workspace_size() const { return 0; }                             // floats

  int packing_tasks() const { return sizes_.groups * static_cast<int>(output_tiles_.size()); }
  std::int64_t packing_task_size() const { return group_weights() / static_cast<std::int64_t>(output_tiles_.size()); }
  void pack(int task, const float* weights, float* packed) const;
  // Return the offset of a weight in packed memory, for one group. For callers that pack transformed weights.
  std::int64_t packed_offset(int output, int channel, int position = 0) const;

  // The register tiles of one row of outputs. For callers that call the kernels directly.
  struct RegisterTile {
    ConvolutionKernel kernel;
    int output, column;  // first output channel, first column
  };
  std::vector<RegisterTile> register_tiles() const;

  // bias: f32 [outputs], or nullptr. Parts are rows of register tiles.
  void run(View x, const float* packed, const float* bias, View y, float* workspace = nullptr, Part part = {}) const;

 private:
  struct ColumnTile {
    int first, count;
    int left, right;               // number of input columns outside the map, for kernels of width 3
    int first_column, end_column;  // range of kernel columns with an input inside the map
  };
  // Loop order that keeps data in the caches.
  struct CacheBlocking {
    int channels;         // input channels per chunk
    bool rows_innermost;  // innermost loop over rows (weights stay in cache), else over output tiles (input rows stay)
  };

  std::int64_t group_weights() const;
  void select_tiles();
  bool make_column_tiles(const std::vector<IndexRange>& columns, std::vector<ColumnTile>& tiles) const;
  double tile_cost(int outputs, const ColumnTile& tile) const;
  double cost_of(const std::vector<IndexRange>& outputs, const std::vector<ColumnTile>& columns) const;
  ConvolutionKernel kernel_of(int outputs, const ColumnTile& tile) const;
  CacheBlocking cache_blocking(View x) const;
  void run_channels(ConvolutionArguments& args, View x, const float* packed, const float* bias, View y,
                    int first_channel, bool rows_innermost, Part part) const;
  void run_row(ConvolutionArguments& args, View x, View y, int output_tile, int row) const;

  const KernelTable* kernels_;
  Sizes sizes_;
  Axis rows_, columns_;
  WeightStrides strides_;
  bool width_3_ = false, is_1x1_ = false, skips_padding_ = false;
  std::vector<IndexRange> output_tiles_;
  std::vector<ColumnTile> column_tiles_;
  std::vector<ConvolutionKernel> tile_kernels_;  // [output tile][column tile]
  std::vector<std::int32_t> column_offsets_;     // floats
  std::vector<std::pair<int, int>> row_ranges_;  // [first, end) of kernel rows inside the map, for each output row
};

}  // namespace mnistcnn::engine::lanes
