#pragma once
#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// Softmax or its logarithm over the first dimension of an image.
class SoftmaxOp final : public Op {
 public:
  SoftmaxOp(Input input, Value* output, bool logarithm) : Op({input}), output_(output), logarithm_(logarithm) {}

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  SoftmaxTile tile() const;

  Value* output_;
  bool logarithm_;
};

}  // namespace mnistcnn::engine::lanes
