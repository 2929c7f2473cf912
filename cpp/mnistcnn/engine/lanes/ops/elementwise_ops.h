#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/network/layers.h"

// Elementwise operations that are not fused: each output element depends on one element of each input. Maps are dense.
namespace mnistcnn::engine::lanes {

// Activation function, see kernels/activation.h. PReLU has slopes as parameters: one for all channels, or one per
// channel.
class ActivationOp final : public Op {
 public:
  struct Slopes {
    int use = -1;  // of the parameter
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

// Sum of all inputs, added in order.
class AddOp final : public Op {
 public:
  AddOp(std::vector<Input> inputs, Tensor* output) : Op(std::move(inputs)), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
};

// Elementwise product of two inputs. The second is broadcast along its dimensions of size 1.
class MultiplyOp final : public Op {
 public:
  MultiplyOp(std::vector<Input> inputs, Tensor* output);

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
  std::vector<std::int64_t> second_;  // [output elements]: index of the factor in the second input
};

// Copies its input; its gradient is zero.
class DetachOp final : public Op {
 public:
  DetachOp(Input input, Tensor* output) : Op({input}), output_(output) {}

  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  Tensor* output_;
};

// Permute, slice, pad, expand and concat: each output element is a copy of an input element, or zero.
class RearrangeOp final : public Op {
 public:
  struct Element {
    int input;           // -1: zero
    std::int64_t index;  // of the element in the input
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

// Return the elements of an output of the given shape. Along dimension d they are strides[d] elements apart in the
// input, beginning at `start`.
std::vector<RearrangeOp::Element> strided_elements(const network::Shape& shape, const network::Shape& strides,
                                                   std::int64_t start);

// Return the elements of a padded map.
std::vector<RearrangeOp::Element> padded_elements(const network::Pad& pad, const Extent& in, const Extent& out);

}  // namespace mnistcnn::engine::lanes
