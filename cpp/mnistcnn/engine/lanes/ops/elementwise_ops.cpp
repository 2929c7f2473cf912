#include "mnistcnn/engine/lanes/ops/elementwise_ops.h"

#include <algorithm>
#include <string>

namespace mnistcnn::engine::lanes {
namespace {

// Return for each element of `whole` the index of the element of `factor` that is broadcast to it.
std::vector<std::int64_t> factor_indices(const Extent& whole, const Extent& factor) {
  std::vector<std::int64_t> indices;
  for (std::int64_t c = 0; c < whole.channels; ++c)
    for (std::int64_t h = 0; h < whole.rows; ++h)
      for (std::int64_t w = 0; w < whole.columns; ++w) {
        const std::int64_t channel = factor.channels == 1 ? 0 : c, row = factor.rows == 1 ? 0 : h;
        indices.push_back((channel * factor.rows + row) * factor.columns + (factor.columns == 1 ? 0 : w));
      }
  return indices;
}

// to (+)= a * b
void multiply_lanes(const float* a, const float* b, float* to, bool accumulate) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) to[lane] = a[lane] * b[lane] + (accumulate ? to[lane] : 0.0f);
}

// Return the position along an axis of `size` that `position` of the padded axis is copied from, or -1 for zero.
std::int64_t padded_from(std::int64_t position, std::int64_t size, const std::string& mode) {
  if (position >= 0 && position < size) return position;
  if (mode == "constant") return -1;
  if (mode == "replicate") return position < 0 ? 0 : size - 1;
  if (mode == "reflect") return position < 0 ? -position : 2 * (size - 1) - position;
  return (position + size) % size;  // circular
}

}  // namespace

// ---- activations

ActivationOp::ActivationOp(Input input, Tensor* output, Activation activation, ActivationParameters parameters,
                           Slopes slopes)
    : Op({input}), output_(output), activation_(activation), parameters_(parameters) {
  slopes_ = {slopes.use, slopes.count, 0};
}

MemoryRequirements ActivationOp::memory_requirements() const {
  MemoryRequirements required;
  required.temporary = input().tensor->extent.elements() * kLanes;
  return required;
}

std::vector<PartialGradient*> ActivationOp::partial_gradients() {
  if (slopes_.count == 0) return {};
  return {&slopes_};
}

ActivationArguments ActivationOp::channel(const BlockContext& block, std::int64_t c) const {
  ActivationArguments row{};
  row.count = input().tensor->extent.positions() * kLanes;
  row.x = block.view(input().tensor->activation).data + c * row.count;
  row.parameters = parameters_;
  if (slopes_.count > 0)
    row.parameters.first = block.batch.parameters[static_cast<std::size_t>(slopes_.use)][slopes_.count == 1 ? 0 : c];
  return row;
}

void ActivationOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    for (std::int64_t c = 0; c < input().tensor->extent.channels; ++c) {
      ActivationArguments row = channel(block, c);
      row.out = block.view(output_->activation).data + c * row.count;
      block.batch.kernels->activation_forward[activation_](row);
    }
  });
}

// Sum gradient * x over all x <= 0, in double.
void ActivationOp::slope_gradients(const BlockContext& block) const {
  float* const partial = block.partial(slopes_.partial);
  const float* gradient = block.view(output_->gradient).data;
  double sum = 0;
  for (std::int64_t c = 0; c < input().tensor->extent.channels; ++c) {
    const ActivationArguments row = channel(block, c);
    if (slopes_.count > 1) sum = 0;
    for (std::int64_t i = 0; i < row.count; ++i)
      if (!(row.x[i] > 0)) sum += static_cast<double>(gradient[c * row.count + i]) * row.x[i];
    float& out = partial[slopes_.count > 1 ? c : 0];
    const bool last = slopes_.count > 1 || c + 1 == input().tensor->extent.channels;
    if (last) out = static_cast<float>((block.accumulates_partial() ? out : 0.0f) + sum);
  }
}

void ActivationOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (slopes_.count > 0) slope_gradients(block);
    if (!input().needs_gradient(block.batch)) return;
    write_gradient(block, input(), offsets_.temporary, [&](View target) {
      for (std::int64_t c = 0; c < input().tensor->extent.channels; ++c) {
        ActivationArguments row = channel(block, c);
        row.gradient = block.view(output_->gradient).data + c * row.count;
        row.out = target.data + c * row.count;
        block.batch.kernels->activation_backward[activation_](row);
      }
    });
  });
}

// ---- add

void AddOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    const std::int64_t size = output_->extent.elements() * kLanes;
    float* const out = block.view(output_->activation).data;
    std::copy_n(block.view(inputs_[0].tensor->activation).data, size, out);
    for (std::size_t i = 1; i < inputs_.size(); ++i)
      block.batch.kernels->add(block.view(inputs_[i].tensor->activation).data, out, size);
  });
}

void AddOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    const std::int64_t size = output_->extent.elements() * kLanes;
    const float* gradient = block.view(output_->gradient).data;
    for (const Input& input : inputs_) {
      if (!input.needs_gradient(block.batch)) continue;
      float* const target = block.view(input.tensor->gradient).data;
      if (input.accumulates_gradient)
        block.batch.kernels->add(gradient, target, size);
      else
        std::copy_n(gradient, size, target);
    }
  });
}

// ---- multiply

MultiplyOp::MultiplyOp(std::vector<Input> inputs, Tensor* output)
    : Op(std::move(inputs)),
      output_(output),
      second_(factor_indices(inputs_[0].tensor->extent, inputs_[1].tensor->extent)) {}

void MultiplyOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    const float* first = block.view(inputs_[0].tensor->activation).data;
    const float* second = block.view(inputs_[1].tensor->activation).data;
    float* out = block.view(output_->activation).data;
    for (const std::int64_t index : second_) {
      multiply_lanes(first, second + index * kLanes, out, false);
      first += kLanes;
      out += kLanes;
    }
  });
}

void MultiplyOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    const float* const first = block.view(inputs_[0].tensor->activation).data;
    const float* const second = block.view(inputs_[1].tensor->activation).data;
    const float* const gradient = block.view(output_->gradient).data;
    const auto elements = static_cast<std::int64_t>(second_.size());
    if (inputs_[0].needs_gradient(block.batch)) {
      float* const target = block.view(inputs_[0].tensor->gradient).data;
      for (std::int64_t i = 0; i < elements; ++i)
        multiply_lanes(gradient + i * kLanes, second + second_[static_cast<std::size_t>(i)] * kLanes,
                       target + i * kLanes, inputs_[0].accumulates_gradient);
    }
    if (inputs_[1].needs_gradient(block.batch)) {
      float* const target = block.view(inputs_[1].tensor->gradient).data;
      if (!inputs_[1].accumulates_gradient) std::fill_n(target, inputs_[1].tensor->extent.elements() * kLanes, 0.0f);
      for (std::int64_t i = 0; i < elements; ++i)
        multiply_lanes(gradient + i * kLanes, first + i * kLanes,
                       target + second_[static_cast<std::size_t>(i)] * kLanes, true);
    }
  });
}

// ---- detach

void DetachOp::add_forward(Program& program, bool) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    const std::int64_t size = output_->extent.elements() * kLanes;
    std::copy_n(block.view(input().tensor->activation).data, size, block.view(output_->activation).data);
  });
}

// Add nothing to the input gradient, but initialize it with zeros if no other reader has written it.
void DetachOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!input().needs_gradient(block.batch) || input().accumulates_gradient) return;
    std::fill_n(block.view(input().tensor->gradient).data, input().tensor->extent.elements() * kLanes, 0.0f);
  });
}

// ---- rearrangement

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
  program.for_each_block([this](const BlockContext& block) noexcept {
    int input = -1;  // that `from` belongs to; consecutive elements are usually of one input
    const float* from = nullptr;
    float* out = block.view(output_->activation).data;
    for (const Element& element : elements_) {
      if (element.input >= 0 && element.input != input) {
        input = element.input;
        from = block.view(inputs_[static_cast<std::size_t>(input)].tensor->activation).data;
      }
      if (element.input < 0)
        std::fill_n(out, kLanes, 0.0f);
      else
        std::copy_n(from + element.index * kLanes, kLanes, out);
      out += kLanes;
    }
  });
}

void RearrangeOp::add_backward(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Input& input = inputs_[i];
      if (!input.needs_gradient(block.batch)) continue;
      float* const target = block.view(input.tensor->gradient).data;
      if (!input.accumulates_gradient) std::fill_n(target, input.tensor->extent.elements() * kLanes, 0.0f);
      const float* gradient = block.view(output_->gradient).data;
      for (const Element& element : elements_) {
        if (element.input == static_cast<int>(i))
          block.batch.kernels->add(gradient, target + element.index * kLanes, kLanes);
        gradient += kLanes;
      }
    }
  });
}

}  // namespace mnistcnn::engine::lanes
