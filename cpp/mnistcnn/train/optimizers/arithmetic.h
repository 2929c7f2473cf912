#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sqrt.h>

#include <cmath>

// Elementwise functions of the update formulas, for float and at::Tensor.
namespace mnistcnn::train {

inline float square_root(float number) { return std::sqrt(number); }
inline at::Tensor square_root(const at::Tensor& numbers) { return at::sqrt(numbers); }

inline float larger(float one, float other) { return one > other ? one : other; }
inline at::Tensor larger(const at::Tensor& one, const at::Tensor& other) { return at::maximum(one, other); }

inline float not_negative(float number) { return number < 0 ? 0 : number; }
inline at::Tensor not_negative(const at::Tensor& numbers) { return at::clamp_min(numbers, 0); }

inline float sign_of(float number) { return static_cast<float>(number > 0) - static_cast<float>(number < 0); }
inline at::Tensor sign_of(const at::Tensor& numbers) { return at::sign(numbers); }

// Clamp to [-limit, limit]. NaN is propagated.
inline float bounded(float number, float limit) {
  const float from_above = number > limit ? limit : number;
  return from_above < -limit ? -limit : from_above;
}
inline at::Tensor bounded(const at::Tensor& numbers, float limit) { return at::clamp(numbers, -limit, limit); }

}  // namespace mnistcnn::train
