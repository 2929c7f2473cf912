#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/network/layers.h"

// Operations that reduce over windows, groups or classes of each image. Maps are dense.
namespace mnistcnn::engine::lanes {

// Pooling windows along one axis: window i covers `count[i]` inputs from start[i], `step` apart, without the padding.
// covered[i]: the number of positions that an average divides by, which may include padding.
struct PoolWindows {
  std::vector<std::int32_t> start, count;
  std::vector<std::int64_t> covered;
  int step = 1;
};

// Return the windows of a pool with the given kernel size. count_padding: as count_include_pad in PyTorch.
PoolWindows pool_windows(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding, std::int64_t dilation, bool count_padding);
// Return the windows of adaptive pooling.
PoolWindows adaptive_windows(std::int64_t inputs, std::int64_t outputs);

// Whether the pool has 2x2 windows that PointwiseOp supports.
bool is_two_by_two(const network::MaxPool2d& pool, const Extent& in);

enum class Pooling {
  kMaximum,
  kAverage,
  kAmax,  // maximum whose gradient is divided evenly among equal maxima
};

// Max, average and amax pooling with any windows.
class PoolOp final : public Op {
 public:
  PoolOp(Input input, Tensor* output, Pooling pooling, PoolWindows rows, PoolWindows columns);

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  PoolArguments arguments(const BlockContext& block) const;
  PoolKernel backward_kernel(const KernelTable& kernels) const;

  Tensor* output_;
  Pooling pooling_;
  PoolWindows rows_, columns_;
  std::vector<float> divisors_;  // [output positions], for an average
};

// Group, layer and instance norm: statistics over groups of consecutive elements of one image.
class NormOp final : public Op {
 public:
  struct Layout {
    std::int64_t groups = 1;
    int weight = -1, bias = -1;                           // uses of parameters, -1: none
    std::int64_t weights = 0;                             // number of elements of weight and bias
    std::int64_t weight_divisor = 1, weight_modulus = 1;  // element e has weight e / divisor % modulus
    double eps = 0;
  };

  NormOp(Input input, Tensor* output, Layout layout);

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  NormArguments arguments(const BlockContext& block) const;
  void backward(const BlockContext& block) const;

  Tensor* output_;
  Layout layout_;
  PartialGradient weight_gradient_, bias_gradient_;
};

// Softmax or log-softmax over the channels.
class SoftmaxOp final : public Op {
 public:
  SoftmaxOp(Input input, Tensor* output, bool logarithm) : Op({input}), output_(output), logarithm_(logarithm) {}

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  SoftmaxArguments arguments() const;

  Tensor* output_;
  bool logarithm_;
};

}  // namespace mnistcnn::engine::lanes
