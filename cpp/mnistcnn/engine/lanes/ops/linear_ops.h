#pragma once
#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/engine/lanes/ops/pointwise_op.h"

// Linear layers, y = W x + b, with weights f32 [outputs, inputs] as in PyTorch. The compiler selects the class by the
// number of weights.
namespace mnistcnn::engine::lanes {

// Linear layer with few weights: one GEMM per block, without a barrier.
class BlockLinearOp final : public Op {
 public:
  BlockLinearOp(FusedInput input, Tensor* output, int weight, int bias);

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  std::int64_t inputs() const { return fused_input_.extent().elements(); }
  std::int64_t outputs() const { return output_->extent.elements(); }
  const float* input_map(const BlockContext& block) const;
  void forward(const BlockContext& block) const;
  void backward(const BlockContext& block) const;
  void weight_gradient(const BlockContext& block, const float* d) const;
  void bias_gradient(const BlockContext& block, const float* d) const;

  FusedInput fused_input_;
  Tensor* output_;
  int weight_, bias_;  // uses of parameters, -1: none
  PartialGradient weight_gradient_, bias_gradient_;
};

// Linear layer with many weights: one GEMM over the batch between two barriers. The weights do not fit a cache, so they
// are read once per step instead of once per block.
class BatchLinearOp final : public Op {
 public:
  BatchLinearOp(FusedInput input, Tensor* output, int weight, int bias);

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  // Matrices in batch memory: f32 [features][blocks][16]; kTransposedX: f32 [blocks][16][features]. Rows are padded to
  // an odd number of cache lines.
  enum Matrix { kX, kY, kGradientX, kGradientY, kTransposedX };

  std::int64_t inputs() const { return fused_input_.extent().elements(); }
  std::int64_t outputs() const { return output_->extent.elements(); }
  float* matrix(const BatchContext& batch, Matrix which) const;
  std::int64_t row(const BatchContext& batch) const { return batch.batch_blocks * kLanes; }
  std::int64_t transposed_row() const { return odd_cache_lines(whole_vectors(inputs()) / kLanes); }
  void gather_rows(const BlockContext& block, const float* from, Matrix to, std::int64_t count) const;
  void scatter_rows(const BlockContext& block, Matrix from, float* to, std::int64_t count) const;
  void gather_input(const BlockContext& block) const;
  void gather_gradients(const BlockContext& block) const;
  void output_rows(const BatchContext& batch, int task) const;
  void input_gradient_rows(const BatchContext& batch, int task) const;
  void weight_gradient_rows(const BatchContext& batch, int task) const;

  FusedInput fused_input_;
  Tensor* output_;
  int weight_, bias_;  // uses of parameters, -1: none
};

}  // namespace mnistcnn::engine::lanes
