#include "mnistcnn/engine/lanes/ops/multiply_op.h"

namespace mnistcnn::engine::lanes {
namespace {

std::vector<std::int64_t> places_of_factors(const Extent& whole, const Extent& factor) {
  std::vector<std::int64_t> places;
  for (std::int64_t c = 0; c < whole.channels; ++c)
    for (std::int64_t h = 0; h < whole.rows; ++h)
      for (std::int64_t w = 0; w < whole.columns; ++w) {
        const std::int64_t channel = factor.channels == 1 ? 0 : c, row = factor.rows == 1 ? 0 : h;
        places.push_back((channel * factor.rows + row) * factor.columns + (factor.columns == 1 ? 0 : w));
      }
  return places;
}

// to[i] = a[i] * b[i], or added to what is there.
void product(const float* a, const float* b, float* to, bool adds) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) to[lane] = a[lane] * b[lane] + (adds ? to[lane] : 0.0f);
}

}  // namespace

MultiplyOp::MultiplyOp(std::vector<Input> inputs, Value* output)
    : Op(std::move(inputs)),
      output_(output),
      second_(places_of_factors(inputs_[0].value->extent, inputs_[1].value->extent)) {}

void MultiplyOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    const float* first = at.view(inputs_[0].value->activation).data;
    const float* second = at.view(inputs_[1].value->activation).data;
    float* out = at.view(output_->activation).data;
    for (const std::int64_t place : second_) {
      product(first, second + place * kLanes, out, false);
      first += kLanes;
      out += kLanes;
    }
  });
}

void MultiplyOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    const float* const first = at.view(inputs_[0].value->activation).data;
    const float* const second = at.view(inputs_[1].value->activation).data;
    const float* const gradient = at.view(output_->gradient).data;
    const auto elements = static_cast<std::int64_t>(second_.size());
    if (inputs_[0].wants_gradient(at.run)) {
      float* const target = at.view(inputs_[0].value->gradient).data;
      for (std::int64_t i = 0; i < elements; ++i)
        product(gradient + i * kLanes, second + second_[static_cast<std::size_t>(i)] * kLanes, target + i * kLanes,
                inputs_[0].adds_gradient);
    }
    if (inputs_[1].wants_gradient(at.run)) {
      float* const target = at.view(inputs_[1].value->gradient).data;
      if (!inputs_[1].adds_gradient) std::fill_n(target, inputs_[1].value->extent.elements() * kLanes, 0.0f);
      for (std::int64_t i = 0; i < elements; ++i)
        product(gradient + i * kLanes, first + i * kLanes, target + second_[static_cast<std::size_t>(i)] * kLanes,
                true);
    }
  });
}

}  // namespace mnistcnn::engine::lanes
