#pragma once
#include <optional>
#include <vector>

#include "mnistcnn/engine/lanes/conv/algorithms.h"
#include "mnistcnn/engine/lanes/conv/winograd_2d_batch.h"
#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/engine/lanes/ops/pointwise_op.h"
#include "mnistcnn/engine/lanes/ops/row_wise_gradient.h"
#include "mnistcnn/network/layers.h"

// 2-D convolution: selection of an algorithm for each pass (see conv/algorithm_selection.h), weight packing and
// padding.
namespace mnistcnn::engine::lanes {

// When equal input patches must give bit-identical outputs, so that a max pool after the convolution has the same ties
// as in PyTorch. Direct convolution guarantees this; Winograd rounds the outputs of a tile differently.
enum class ExactTies { kNotNeeded, kForImageGradients, kAlways };

// Convolution with any kernel size, stride, padding, dilation and groups. `weight` and `bias` are uses of parameters.
class ConvolutionOp final : public Op {
 public:
  ConvolutionOp(const KernelTable& kernels, const network::Conv2d& layer, FusedInput input, Tensor* output, int weight,
                int bias, ExactTies exact_ties);

  MemoryRequirements memory_requirements() const override;
  const PaddedLayout* input_layout() const override { return &input_layout_; }
  const PaddedLayout* gradient_scratch_layout() const override { return &gradient_layout_; }
  int packing_tasks() const override;
  std::int64_t packing_task_size() const override;
  void pack(const BatchContext& batch, int task) const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

  Tensor* output() const { return output_; }
  // Whether the output can be computed together with that of a max pool that reads it.
  bool supports_pool(const PointwiseOp& reader) const;
  // Fuse with the next operation, the only reader of the output. If it is a max pool, both are computed in one pass. If
  // the input needs no gradient, the weight gradient is computed row by row. The results do not change.
  void fuse(const KernelTable& kernels, PointwiseOp& reader);

 private:
  // Batches for which an algorithm is used, depending on whether the backward computes image gradients.
  enum class UsedFor { kEveryBatch, kWithoutImageGradients, kWithImageGradients };

  static bool is_used(UsedFor used_for, const BatchContext& batch) {
    return used_for == UsedFor::kEveryBatch || (used_for == UsedFor::kWithImageGradients) == batch.image_gradients;
  }

  struct PackedAlgorithm {
    ConvolutionAlgorithm algorithm;
    std::int64_t weights;  // offset in the packed memory of this operation
    UsedFor used_for;

    bool is_used(const BatchContext& batch) const { return ConvolutionOp::is_used(used_for, batch); }
  };

  std::optional<Convolution3x3> as_3x3() const;
  void plan_forward(const KernelTable& kernels, ExactTies exact_ties);
  void plan_input_gradient(const KernelTable& kernels);
  void plan_direct_input_gradient(const KernelTable& kernels);
  WeightGradientAlgorithm plan_weight_gradient(const KernelTable& kernels) const;
  void add_algorithm(std::vector<PackedAlgorithm>& algorithms, ConvolutionAlgorithm algorithm, UsedFor used_for);
  template <class Visit>
  void for_each_algorithm(Visit visit) const;

  bool reads_input_in_place() const;
  bool reads_output_gradient_in_place() const { return gradient_layout_.padding.empty(); }
  View padded_input(const BlockContext& block) const;
  View padded_output_gradient(const BlockContext& block) const;
  void prepare_input(const BlockContext& block) const;
  bool needs_cleared_padding() const;
  void clear_input_padding(const BlockContext& block) const;
  void prepare_output_gradient(const BlockContext& block) const;
  void run(const BlockContext& block, const PackedAlgorithm& packed, View from, const float* bias, View to) const;
  void forward(const BlockContext& block) const;
  // Parts of the two gradients that one task computes. A count of 0: none.
  struct BackwardParts {
    Part weights, inputs;
  };
  BackwardParts backward_parts(const BlockContext& block) const;
  const Winograd2dConvolution* sharing_input_gradient() const;
  void backward(const BlockContext& block) const;
  void both_gradients(const BlockContext& block, View x, View d, const Winograd2dConvolution& inputs) const;
  void weight_gradient(const BlockContext& block, View x, View d) const;
  void input_gradient(const BlockContext& block, View d) const;
  void bias_gradient(const BlockContext& block, View d) const;

  // ---- fused with the reader
  struct PooledForward {
    PooledConvolution algorithm;
    std::int64_t weights;  // as in PackedAlgorithm
    const PointwiseOp* reader;
  };

  // With gradients of the images, the backward pass computes whole maps.
  bool is_gradient_row_wise(const BatchContext& batch) const { return row_wise_gradient_ && !batch.image_gradients; }
  void gradients_by_rows(const BlockContext& block) const;

  // ---- over the whole batch
  bool is_forward_over_batch(const BatchContext& batch) const;
  BatchWinograd2d::Memory batch_memory(const BatchContext& batch) const;
  void add_forward_over_batch(Program& program);
  void add_backward_over_batch(Program& program);
  void prepare_backward(const BlockContext& block) const;
  void backward_task(const BatchContext& batch, int task, int thread) const;

  network::Conv2d layer_;
  FusedInput fused_input_;
  Tensor* output_;
  int weight_, bias_;  // uses of parameters, -1: none
  PaddedLayout input_layout_, gradient_layout_;
  // Either the algorithms of a block, or one for all passes over the whole batch. The latter needs a direct forward
  // algorithm if equal input patches must give bit-identical outputs.
  std::optional<BatchWinograd2d> batch_algorithm_;
  std::vector<PackedAlgorithm> forward_;   // at most one is used for a batch
  std::vector<PackedAlgorithm> backward_;  // all are used; direct: one per remainder of the position by the strides
  std::int64_t packed_size_ = 0;           // floats
  std::optional<WeightGradientAlgorithm> weight_gradient_algorithm_;
  PartialGradient weight_gradient_, bias_gradient_;
  std::optional<PooledForward> pooled_forward_;  // instead of an algorithm in forward_
  std::optional<RowWiseGradient> row_wise_gradient_;
};

}  // namespace mnistcnn::engine::lanes
