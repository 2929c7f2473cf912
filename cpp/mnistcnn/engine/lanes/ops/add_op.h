#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// The sum of its inputs, added from the first to the last.
class AddOp final : public Op {
 public:
  AddOp(std::vector<Input> inputs, Value* output) : Op(std::move(inputs)), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Value* output_;
};

}  // namespace mnistcnn::engine::lanes
