#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

// 2-D Winograd over a whole batch, for convolutions whose transformed weights do not fit a cache: they are read once
// per step instead of once per block, and the weight gradient is summed over all images in the domain. Called by
// ops/convolution_op.
namespace mnistcnn::engine::lanes {

// All passes of a convolution. Every pass consists of tasks between barriers: transforms per block, products per point
// of the domain, and transforms per block. Input gradients and weight gradients use the same transformed gradients.
class BatchWinograd2d {
 public:
  // Memory of a batch: domains for `capacity` blocks, and packed weights.
  struct Memory {
    float* domains;
    std::int64_t capacity;
    float* packed;
    int blocks;
  };

  BatchWinograd2d(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t batch_size() const;  // floats per block
  // Transformed weights and sums of the weight gradient, both f32 [points][outputs][row].
  std::int64_t packed_size() const { return 2 * tiling_.points() * point_weights(); }
  std::int64_t workspace_size() const;  // floats
  int packing_tasks() const { return integer(convolution_.out.channels); }
  std::int64_t packing_task_size() const { return tiling_.points() * convolution_.in.channels; }
  void pack(int task, const float* weights, float* packed) const;

  // Per block. The transformed inputs are kept from the forward to the backward pass.
  void transform_inputs(const Memory& memory, int block, View x) const;
  void transform_gradients(const Memory& memory, int block, View d) const;
  void write_outputs(const Memory& memory, int block, const float* bias, View y) const;
  void write_input_gradients(const Memory& memory, int block, View x_gradient) const;

  // Independent tasks, between barriers.
  int output_tasks() const { return tiling_.points() * static_cast<int>(output_ranges_.size()); }
  void multiply_outputs(const Memory& memory, int task) const;
  int input_gradient_tasks() const { return tiling_.points() * static_cast<int>(input_ranges_.size()); }
  void multiply_input_gradients(const Memory& memory, int task) const;
  int sum_tasks() const { return tiling_.points() * static_cast<int>(sum_ranges_.size()); }
  void sum_weight_gradients(const Memory& memory, int task, float* workspace) const;
  // After all sums. gradient: f32 [outputs][channels][3][3].
  int weight_gradient_tasks() const { return packing_tasks(); }
  void write_weight_gradients(const Memory& memory, int task, float* gradient) const;

 private:
  enum Which { kInputs, kOutputs, kInputGradients };  // kOutputs: also the output gradients

  // The tiles of each size have their own domain.
  Winograd2dDomain domain(Which which, const TileGroup2d& group, std::int64_t blocks) const;
  float* domain_memory(const Memory& memory, Which which, int group) const;
  std::int64_t domain_size(Which which) const;  // floats per block
  Winograd2dArguments arguments(const Memory& memory, int block, Which which, int group, View map) const;
  int groups() const { return static_cast<int>(groups_.size()); }
  // Multiply by the weights at a point, for the tiles that have it.
  void multiply(const Memory& memory, int point, const DomainWeights& weights, IndexRange rows, Which from,
                Which to) const;
  std::int64_t row() const { return odd_cache_lines(whole_vectors(convolution_.in.channels) / kLanes); }
  std::int64_t point_weights() const { return convolution_.out.channels * row(); }

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  Tiling2d tiling_;
  std::vector<TileGroup2d> groups_;                                    // all tiles of each size
  std::vector<IndexRange> output_ranges_, input_ranges_, sum_ranges_;  // channels of the tasks
};

}  // namespace mnistcnn::engine::lanes
