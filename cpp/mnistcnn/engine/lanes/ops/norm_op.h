#pragma once
#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// Group, layer and instance norm: groups of neighbouring elements, each image by itself.
class NormOp final : public Op {
 public:
  struct Layout {
    std::int64_t groups = 1;
    int weight = -1, bias = -1;                           // uses of parameters, -1: none
    std::int64_t weights = 0;                             // elements of each
    std::int64_t weight_divisor = 1, weight_modulus = 1;  // of element e: weight e / divisor % modulus
    double eps = 0;
  };

  NormOp(Input input, Value* output, Layout layout);

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  NormTile tile(const BlockRun& at) const;
  void backward(const BlockRun& at) const;

  Value* output_;
  Layout layout_;
  PartialGradient weight_gradient_, bias_gradient_;
};

}  // namespace mnistcnn::engine::lanes
