#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// The product of two inputs; a dimension of size 1 of the second serves a whole dimension of the first.
class MultiplyOp final : public Op {
 public:
  MultiplyOp(std::vector<Input> inputs, Value* output);

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Value* output_;
  std::vector<std::int64_t> second_;  // for each element, the place of its factor in the second input
};

}  // namespace mnistcnn::engine::lanes
