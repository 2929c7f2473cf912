#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/network/layers.h"

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

// The elements of an output of the given shape whose dimension d lies `strides[d]` apart in the input.
std::vector<RearrangeOp::Element> strided_elements(const network::Shape& shape, const network::Shape& strides,
                                                   std::int64_t start);

// The elements of a padded map.
std::vector<RearrangeOp::Element> padded_elements(const network::Pad& pad, const Extent& in, const Extent& out);

}  // namespace mnistcnn::engine::lanes
