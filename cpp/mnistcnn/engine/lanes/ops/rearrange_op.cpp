#include "mnistcnn/engine/lanes/ops/rearrange_op.h"

namespace mnistcnn::engine::lanes {
namespace {

// The position inside a map of `size` that a position of the padded map shows; -1 for a zero.
std::int64_t padded_from(std::int64_t position, std::int64_t size, const std::string& mode) {
  if (position >= 0 && position < size) return position;
  if (mode == "constant") return -1;
  if (mode == "replicate") return position < 0 ? 0 : size - 1;
  if (mode == "reflect") return position < 0 ? -position : 2 * (size - 1) - position;
  return (position + size) % size;  // circular
}

}  // namespace

std::vector<RearrangeOp::Element> strided_elements(const network::Shape& shape, const network::Shape& strides,
                                                   std::int64_t start) {
  std::vector<RearrangeOp::Element> elements;
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  for (std::int64_t e = 0; e < count; ++e) {
    std::int64_t rest = e, index = start;
    for (std::size_t d = shape.size(); d-- > 0;) {
      index += rest % shape[d] * strides[d];
      rest /= shape[d];
    }
    elements.push_back({0, index});
  }
  return elements;
}

std::vector<RearrangeOp::Element> padded_elements(const network::Pad& pad, const Extent& in, const Extent& out) {
  std::vector<RearrangeOp::Element> elements;
  for (std::int64_t c = 0; c < out.channels; ++c)
    for (std::int64_t h = 0; h < out.rows; ++h)
      for (std::int64_t w = 0; w < out.columns; ++w) {
        const std::int64_t row = padded_from(h - pad.padding.top, in.rows, pad.mode);
        const std::int64_t column = padded_from(w - pad.padding.left, in.columns, pad.mode);
        const bool zero = row < 0 || column < 0;
        elements.push_back(zero ? RearrangeOp::kZero
                                : RearrangeOp::Element{0, (c * in.rows + row) * in.columns + column});
      }
  return elements;
}

void RearrangeOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    std::vector<const float*> from;
    for (const Input& input : inputs_) from.push_back(at.view(input.value->activation).data);
    float* out = at.view(output_->activation).data;
    for (const Element& element : elements_) {
      if (element.input < 0)
        std::fill_n(out, kLanes, 0.0f);
      else
        std::copy_n(from[static_cast<std::size_t>(element.input)] + element.index * kLanes, kLanes, out);
      out += kLanes;
    }
  });
}

void RearrangeOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Input& input = inputs_[i];
      if (!input.wants_gradient(at.run)) continue;
      float* const target = at.view(input.value->gradient).data;
      if (!input.adds_gradient) std::fill_n(target, input.value->extent.elements() * kLanes, 0.0f);
      const float* gradient = at.view(output_->gradient).data;
      for (const Element& element : elements_) {
        if (element.input == static_cast<int>(i))
          at.run.kernels->add(gradient, target + element.index * kLanes, kLanes);
        gradient += kLanes;
      }
    }
  });
}

}  // namespace mnistcnn::engine::lanes
