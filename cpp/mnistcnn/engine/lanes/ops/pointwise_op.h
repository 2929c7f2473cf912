#pragma once
#include <optional>
#include <vector>

#include "mnistcnn/engine/lanes/conv/pooled_convolution.h"
#include "mnistcnn/engine/lanes/ops/op.h"

// Fused pointwise layers (kernels/pointwise.h), batch norm statistics, and fusion into the operation that reads the
// output.
namespace mnistcnn::engine::lanes {

// The layers of a fused pointwise operation. PointwiseKind, PointwisePool and PointwiseDropout determine their order.
struct PointwiseLayers {
  struct Norm {
    double eps = 0, momentum = 0;
    int weight = -1, bias = -1;                                  // uses of parameters, -1: none
    int running_mean = -1, running_variance = -1, counter = -1;  // indices in Analysis, -1: none
  };
  struct Affine {
    double scale = 1, shift = 0;
  };
  enum class Activation { kNone, kRelu, kLeaky, kSilu } activation = Activation::kNone;
  bool activation_first = false;  // before the affine step
  double slope = 0;
  std::optional<Norm> norm;      // the affine step is a batch norm
  std::optional<Affine> affine;  // or constant; at most one of both
  PointwisePool pool = kNoPool;
  PointwiseDropout dropout = kNoDropout;
  double dropout_probability = 0;
  bool dropout_always = false;    // in evaluation mode too
  bool dropout_channels = false;  // drop whole channels
  int dropout_node = 0;           // determines the random stream of the masks
};

// Some rows of some channels of a map.
struct MapRange {
  IndexRange channels, rows;
};

// Batch norm, scale and shift, ReLU, leaky ReLU, SiLU, dropout and 2x2 max pooling, fused into one pass over the input
// y. y and the gradient of the output are kept in memory, and the output unless its reader computes it
// (`fuse_into_reader`). A max pool keeps the positions of the maxima too, and no y if a convolution computes the output
// (ConvolutionOp::fuse). The backward pass recomputes the rest.
//
// Batch norm: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167. Statistics are computed per block relative to
// a shift (kernels/statistics.h) and combined in double as in Chan, Golub and LeVeque, "Algorithms for Computing the
// Sample Variance", 1983.
class PointwiseOp final : public Op {
 public:
  PointwiseOp(Input input, Tensor* output) : Op({input}), output_(output) {}

  // Whether the layers are an optional ReLU, a max pool and optional dropout after it. The backward pass then reads
  // only the positions of the maxima.
  bool has_only_relu_and_pool() const;
  // Whether computing the output again in the backward pass takes less time than writing and reading it.
  bool is_cheap() const { return layers_.activation != PointwiseLayers::Activation::kSilu; }
  // Make this a prologue: the output is not written to memory; its only reader calls `compute` instead.
  void fuse_into_reader() { output_->materialized = false; }
  // Compute the output of a block, or of a part of its channels, and write it to `out`.
  void compute(const BlockContext& block, View out) const;

  // ---- fusion with the convolution that computes the input, see ConvolutionOp::fuse
  // The convolution computes the gradient of the input, unless gradients of the images are requested.
  void compute_gradient_in_producer() { gradient_in_producer_ = true; }
  // The convolution computes the output, and the input is not kept. Requires has_only_relu_and_pool.
  void compute_output_in_producer() { output_in_producer_ = true; }
  PooledOutputs pooled_outputs(const BlockContext& block) const;
  int output_rows() const { return integer(output_->extent.rows); }
  // Return the rows of the input that belong to rows of the output.
  IndexRange input_rows(IndexRange output_rows) const;
  // Compute the gradient of the input for some rows and channels of the output. target: its first channel and row are
  // those of the range.
  void compute_gradient(const BlockContext& block, MapRange range, View target) const;
  void add_dropout_masks(Program& program, bool training) const;

  PointwiseLayers& layers() { return layers_; }
  Tensor* output() const { return output_; }

  MemoryRequirements memory_requirements() const override;
  bool supports_strided_input() const override { return true; }
  // An output that this operation writes to memory is dense. With padding, record_8k would need 7 % more memory and
  // save only copies of maps that are in L2.
  bool supports_strided_output() const override { return output_in_producer_ || !output_->materialized; }
  bool is_called_by_previous() const override { return gradient_in_producer_ || output_in_producer_; }
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
  const Extent& mask_extent() const;
  std::int64_t mask_size() const;
  float keep_scale() const;
  std::uint16_t* mask(const BlockContext& block) const;
  std::uint8_t* positions(const BlockContext& block) const;
  MapRange range_of(const BlockContext& block) const;
  // Return arguments for a range of the output. out: the whole output, or in the backward pass its gradient.
  PointwiseArguments arguments(const BlockContext& block, MapRange range, View out) const;
  TimeCategory category_inside_other(const BlockContext& block) const;
  void draw_mask(const BlockContext& block) const;
  void block_moments(const BlockContext& block);
  void batch_moments(const BatchContext& batch);
  void set_coefficients(const BatchContext& batch, std::int64_t channel, double mean, double variance);
  void block_sums(const BlockContext& block);
  void batch_sums(const BatchContext& batch);
  void input_gradient(const BlockContext& block) const;

  Tensor* output_;
  PointwiseLayers layers_;
  bool gradient_in_producer_ = false, output_in_producer_ = false;

  std::vector<float> scale_, shift_, mean_, inverse_;  // [channels]; inverse_: 1 / standard deviation
  std::vector<float> gradient_mean_, projection_;      // [channels]; see kernels/pointwise.h
  // [blocks][channels][2]. moments_: mean, sum of squared deviations. sums_: sum of dz, sum of dz * deviation.
  std::vector<double> moments_, sums_;
};

// Input of a convolution or a linear layer. Without a prologue it is read from the tensor. With a prologue, the reader
// computes it into its own scratch memory, once in the forward and once in the backward pass.
struct FusedInput {
  Tensor* tensor = nullptr;
  PointwiseOp* prologue = nullptr;

  const Extent& extent() const { return tensor->extent; }
};

}  // namespace mnistcnn::engine::lanes
