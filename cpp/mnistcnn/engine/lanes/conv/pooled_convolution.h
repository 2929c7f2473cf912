#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"
#include "mnistcnn/network/layers.h"

// Direct convolution, ReLU (optional), 2x2 max pool and dropout (optional) in one pass (kernels/pooled_convolution.h).
// The outputs of the convolution are not written to memory. For few input channels, where writing and reading the
// outputs takes as long as computing them. Called by ops/convolution_op.
namespace mnistcnn::engine::lanes {

// Outputs of the pool for one block.
struct PooledOutputs {
  View y;
  std::uint8_t* positions;    // of the maxima, see PooledConvolutionArguments
  const std::uint16_t* mask;  // of dropout, or nullptr
  float keep_scale;
};

class PooledConvolution {
 public:
  static bool supports(const network::Conv2d& layer, std::int64_t channels) {
    return layer.groups == 1 && channels <= kMaxChannels;
  }

  // input: layout of the padded input. pooled: extent of the pool's output.
  PooledConvolution(const KernelTable& kernels, const network::Conv2d& layer, const PaddedLayout& input,
                    const Extent& pooled, bool relu);

  std::int64_t packed_size() const { return pooled_.channels * output_weights_; }  // floats
  std::int64_t workspace_size() const { return 0; }                                // floats
  int packing_tasks() const { return static_cast<int>(tiles_.size()); }
  std::int64_t packing_task_size() const { return tiles_.front().count * output_weights_; }
  void pack(int task, const float* weights, float* packed) const;
  // x: padded input. bias: f32 [output channels], or nullptr. Parts are rows of the pool.
  void run(View x, const float* packed, const float* bias, const PooledOutputs& out, Part part) const;

 private:
  static constexpr std::int64_t kMaxChannels = 8;

  const KernelTable* kernels_;
  network::Conv2d layer_;
  int channels_;
  Extent pooled_;
  bool relu_, is_width_3_;
  std::int64_t output_weights_;               // weights of one output channel
  std::vector<IndexRange> tiles_;             // output channels of each call of a kernel
  std::vector<std::int32_t> column_offsets_;  // floats
};

}  // namespace mnistcnn::engine::lanes
