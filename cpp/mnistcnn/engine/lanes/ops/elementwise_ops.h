#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/network/layers.h"

// Operations that compute each output element from one element of each input, and are not fused.
namespace mnistcnn::engine::lanes {

// PReLU's slopes are parameters: one for all channels, or one for each.
class ActivationOp final : public Op {
 public:
  struct Slopes {
    int use = -1;  // of a parameter
    std::int64_t count = 0;
  };

  ActivationOp(Input input, Tensor* output, Activation activation, ActivationParameters parameters, Slopes slopes);

  MemoryRequirements memory_requirements() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  ActivationArguments channel(const BlockContext& block, std::int64_t c) const;
  void slope_gradients(const BlockContext& block) const;

  Tensor* output_;
  Activation activation_;
  ActivationParameters parameters_;
  PartialGradient slopes_;
};

// The sum of all inputs, added from the first to the last.
class AddOp final : public Op {
 public:
  AddOp(std::vector<Input> inputs, Tensor* output) : Op(std::move(inputs)), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
};

// The product of two inputs; the second is broadcast along its dimensions of size 1.
class MultiplyOp final : public Op {
 public:
  MultiplyOp(std::vector<Input> inputs, Tensor* output);

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
  std::vector<std::int64_t> second_;  // for each element, the index of its factor in the second input
};

// Copies its input and passes no gradient back.
class DetachOp final : public Op {
 public:
  DetachOp(Input input, Tensor* output) : Op({input}), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
};

// Permute, slice, pad, expand and concat: each output element is an element of an input, or zero.
class RearrangeOp final : public Op {
 public:
  struct Element {
    int input;
    std::int64_t index;
  };
  static constexpr Element kZero{-1, 0};

  RearrangeOp(std::vector<Input> inputs, Tensor* output, std::vector<Element> elements)
      : Op(std::move(inputs)), output_(output), elements_(std::move(elements)) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
  std::vector<Element> elements_;
};

// The elements of an output of the given shape whose dimension d has the stride strides[d] in the input.
std::vector<RearrangeOp::Element> strided_elements(const network::Shape& shape, const network::Shape& strides,
                                                   std::int64_t start);

std::vector<RearrangeOp::Element> padded_elements(const network::Pad& pad, const Extent& in, const Extent& out);

}  // namespace mnistcnn::engine::lanes
