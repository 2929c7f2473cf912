#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/ops/pointwise_op.h"

// The weight gradient of a convolution whose input needs no gradient, fused with the pointwise operation that reads the
// convolution's output. This reader computes a few rows of the gradient of the output at a time, and their products are
// added to the weight gradient while they are in L1. The result is the same as with the gradient of the whole map. Used
// by ConvolutionOp.
namespace mnistcnn::engine::lanes {

class RowWiseGradient {
 public:
  // map: the output of the convolution.
  RowWiseGradient(const DirectWeightGradient& weights, const Extent& map, const PointwiseOp& reader);

  std::int64_t workspace_size() const { return gradient_size_ + sums_size_; }  // floats
  // Add to the gradients `weights` and `bias` (nullptr: no bias), or overwrite them if the block is the first that
  // does. Parts are register tiles. Parts with the same output channels compute the same gradients of the outputs.
  void run(const BlockContext& block, View x, float* weights, float* bias, float* workspace) const;

 private:
  void add_tiles(const BlockContext& block, IndexRange tiles, View x, float* weights, float* bias,
                 float* workspace) const;
  int rows_per_step(int channels) const;

  const DirectWeightGradient* weights_;
  Extent map_;
  const PointwiseOp* reader_;
  std::int64_t gradient_size_ = 0, sums_size_ = 0;  // parts of the workspace, in this order; floats
};

}  // namespace mnistcnn::engine::lanes
