#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sqrt.h>

#include <cmath>

// What a formula needs besides + - * /, for floats and for tensors.
namespace mnistcnn::train {

inline float square_root(float number) { return std::sqrt(number); }
inline at::Tensor square_root(const at::Tensor& numbers) { return at::sqrt(numbers); }

inline float larger(float one, float other) { return one > other ? one : other; }
inline at::Tensor larger(const at::Tensor& one, const at::Tensor& other) { return at::maximum(one, other); }

inline float not_negative(float number) { return number < 0 ? 0 : number; }
inline at::Tensor not_negative(const at::Tensor& numbers) { return at::clamp_min(numbers, 0); }

inline float sign_of(float number) { return static_cast<float>(number > 0) - static_cast<float>(number < 0); }
inline at::Tensor sign_of(const at::Tensor& numbers) { return at::sign(numbers); }

// To [-limit, limit]; what is no number stays none.
inline float bounded(float number, float limit) {
  const float from_above = number > limit ? limit : number;
  return from_above < -limit ? -limit : from_above;
}
inline at::Tensor bounded(const at::Tensor& numbers, float limit) { return at::clamp(numbers, -limit, limit); }

}  // namespace mnistcnn::train
