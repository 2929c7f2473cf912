#pragma once
#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// Copies its input and passes no gradient back.
class DetachOp final : public Op {
 public:
  DetachOp(Input input, Value* output) : Op({input}), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Value* output_;
};

}  // namespace mnistcnn::engine::lanes
