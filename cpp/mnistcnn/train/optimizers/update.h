#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <limits>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/parameter_range.h"

// Apply an update formula to a range of the flat arrays: in one loop over floats, which the compiler vectorises, or
// with tensor operations for devices other than the CPU.
namespace mnistcnn::train {

// Transform of the gradients before the update formula: l1 term, clipping by norm, clipping by value.
struct GradientTransform {
  float l1 = 0;      // l1 * sign(value) is added
  float factor = 1;  // factor of clipping by norm
  float limit = std::numeric_limits<float>::infinity();

  template <class Number>
  Number operator()(const Number& gradient, const Number& value) const {
    return bounded((gradient + l1 * sign_of(value)) * factor, limit);
  }
};

template <class Formula>
void update_floats(const Formula formula, const GradientTransform transform, ParameterRange range,
                   float* __restrict values, const float* __restrict gradients,
                   const std::array<float*, Formula::kSlots> slots) {
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    float value = values[i];
    std::array<float, Formula::kSlots> state;
    for (std::size_t slot = 0; slot < Formula::kSlots; ++slot) state[slot] = slots[slot][i];
    formula(value, transform(gradients[i], value), state);
    values[i] = value;
    for (std::size_t slot = 0; slot < Formula::kSlots; ++slot) slots[slot][i] = state[slot];
  }
}

template <class Formula>
void update_tensors(const Formula& formula, const GradientTransform& transform, ParameterRange range,
                    const at::Tensor& values, const at::Tensor& gradients,
                    const std::array<at::Tensor, Formula::kSlots>& slots) {
  const auto slice_of = [range](const at::Tensor& flat) { return flat.slice(0, range.begin, range.end); };
  at::Tensor value = slice_of(values);
  std::array<at::Tensor, Formula::kSlots> state;
  for (std::size_t slot = 0; slot < Formula::kSlots; ++slot) state[slot] = slice_of(slots[slot]);
  formula(value, transform(slice_of(gradients), value), state);
  slice_of(values).copy_(value);
  for (std::size_t slot = 0; slot < Formula::kSlots; ++slot) slice_of(slots[slot]).copy_(state[slot]);
}

}  // namespace mnistcnn::train
