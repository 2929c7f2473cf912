#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"

namespace mnistcnn::engine::lanes {

// The layers of a fused pointwise operation; see PointwiseKind for their order.
struct PointwiseLayers {
  struct Norm {
    double eps = 0, momentum = 0;
    int weight = -1, bias = -1;                                  // uses of parameters, -1: none
    int running_mean = -1, running_variance = -1, counter = -1;  // in Analysis, -1: none
  };
  struct Affine {
    double scale = 1, shift = 0;
  };
  enum class Activation { kNone, kRelu, kLeaky } activation = Activation::kNone;
  bool activation_first = false;  // before the affine step
  double slope = 0;
  std::optional<Norm> norm;      // the affine step is a batch norm,
  std::optional<Affine> affine;  // or constants
  PointwisePool pool = kNoPool;
  PointwiseDropout dropout = kNoDropout;
  double dropout_probability = 0;
  bool dropout_always = false;  // in evaluation as well
  bool dropout_channels = false;
  int dropout_node = 0;  // whose masks are drawn
};

// Batch norm, scale and shift, ReLU, leaky ReLU, dropout and 2x2 max pooling, fused into one pass over the input y; see
// kernels/pointwise.h. Only y and the gradient of the output are kept; everything else is computed again in the
// backward pass.
class PointwiseOp final : public Op {
 public:
  PointwiseOp(Input input, Tensor* output) : Op({input}), output_(output) {}

  // Do not write the output to memory: its only reader calls `compute` where and when it needs the output.
  void fuse_into_reader() { output_->materialized = false; }
  void compute(const BlockContext& block, View out) const;

  PointwiseLayers& layers() { return layers_; }
  Tensor* output() const { return output_; }

  MemoryRequirements memory_requirements() const override;
  bool supports_strided_input() const override { return true; }
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  void prepare(const BatchContext& batch) override;

 private:
  bool has_batch_statistics(bool training) const {
    return layers_.norm && (training || layers_.norm->running_mean < 0);
  }
  bool has_dropout(bool training) const {
    return layers_.dropout != kNoDropout && (training || layers_.dropout_always);
  }
  PointwiseKind kind() const;
  PointwiseDropout dropout(const BatchContext& batch) const;
  std::uint16_t* mask(const BlockContext& block) const;
  // out: where the output goes, or in the backward pass the gradient of the output.
  PointwiseArguments arguments(const BlockContext& block, View out) const;
  TimeCategory category_inside_reader(const BlockContext& block) const;
  void draw_mask(const BlockContext& block) const;
  void block_moments(const BlockContext& block);
  void batch_moments(const BatchContext& batch);
  void set_coefficients(const BatchContext& batch, std::int64_t channel, double mean, double variance);
  void block_sums(const BlockContext& block);
  void batch_sums(const BatchContext& batch);
  void input_gradient(const BlockContext& block) const;

  Tensor* output_;
  PointwiseLayers layers_;

  std::vector<float> scale_, shift_, mean_, inverse_;  // [channels]
  std::vector<float> gradient_mean_, projection_;      // [channels]
  std::vector<double> moments_, sums_;                 // [blocks][channels][2]
};

// The input of a convolution or a linear layer: a tensor, or a fused operation in front (a prologue) that computes its
// output into the reader's scratch memory, once in the forward and once in the backward pass.
struct FusedInput {
  Tensor* tensor = nullptr;
  PointwiseOp* prologue = nullptr;

  const Extent& extent() const { return tensor->extent; }
};

}  // namespace mnistcnn::engine::lanes
