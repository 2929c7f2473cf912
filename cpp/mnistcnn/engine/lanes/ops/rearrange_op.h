#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// Permute, slice, pad and concat: each output element is some element of some input, or zero.
class RearrangeOp final : public Op {
 public:
  struct Element {
    int input;
    std::int64_t index;
  };
  static constexpr Element kZero{-1, 0};

  RearrangeOp(std::vector<Input> inputs, Value* output, std::vector<Element> elements)
      : Op(std::move(inputs)), output_(output), elements_(std::move(elements)) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Value* output_;
  std::vector<Element> elements_;
};

}  // namespace mnistcnn::engine::lanes
