#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// The activations that no chain fuses, one number at a time: the value and the derivative.
namespace mnistcnn::engine::lanes {
namespace {

template <Activation kActivation>
struct Function;

template <>
struct Function<kTanh> {
  static LANES_INLINE vf value(vf x, vf) { return hyperbolic_tangent(x); }
  static LANES_INLINE vf derivative(vf x, vf) {
    const vf y = hyperbolic_tangent(x);
    return 1.0f - y * y;
  }
};

template <>
struct Function<kSigmoid> {
  static LANES_INLINE vf value(vf x, vf) { return sigmoid(x); }
  static LANES_INLINE vf derivative(vf x, vf) { return sigmoid(x) * sigmoid(-x); }
};

template <>
struct Function<kSilu> {
  static LANES_INLINE vf value(vf x, vf) { return x * sigmoid(x); }
  static LANES_INLINE vf derivative(vf x, vf) {
    const vf s = sigmoid(x);
    return multiply_add(x * s, sigmoid(-x), s);
  }
};

template <>
struct Function<kElu> {
  static LANES_INLINE vf value(vf x, vf alpha) {
    // e^x - 1 without cancellation: 2 tanh(x/2) / (1 - tanh(x/2))
    const vf t = hyperbolic_tangent(larger(splat(-40.0f), select(x > 0.0f, vf{}, x)) * 0.5f);
    return select(x > 0.0f, x, alpha * (2.0f * t / (1.0f - t)));
  }
  static LANES_INLINE vf derivative(vf x, vf alpha) { return select(x > 0.0f, splat(1.0f), alpha * exponential(x)); }
};

template <>
struct Function<kRelu6> {
  static LANES_INLINE vf value(vf x, vf) { return select(x <= 0.0f, vf{}, select(x >= 6.0f, splat(6.0f), x)); }
  static LANES_INLINE vf derivative(vf x, vf) { return select((x <= 0.0f) | (x >= 6.0f), vf{}, splat(1.0f)); }
};

template <>
struct Function<kHardswish> {
  static LANES_INLINE vf value(vf x, vf) {
    const vf gate = x + 3.0f;
    return x * select(gate <= 0.0f, vf{}, select(gate >= 6.0f, splat(6.0f), gate)) * (1.0f / 6.0f);
  }
  static LANES_INLINE vf derivative(vf x, vf) {
    return select(x <= -3.0f, vf{}, select(x >= 3.0f, splat(1.0f), multiply_add(x, splat(1.0f / 3.0f), splat(0.5f))));
  }
};

template <>
struct Function<kGelu> {
  static LANES_INLINE vf cumulative(vf x) {
    return multiply_add(error_function(x * 0.70710678f), splat(0.5f), splat(0.5f));
  }
  static LANES_INLINE vf value(vf x, vf) { return x * cumulative(x); }
  static LANES_INLINE vf derivative(vf x, vf) {
    const vf density = exponential(x * x * -0.5f) * 0.39894228f;
    return multiply_add(x, density, cumulative(x));
  }
};

template <>
struct Function<kGeluTanh> {
  static LANES_INLINE vf inner(vf x) {
    return x * multiply_add(x * x, splat(0.7978845608f * 0.044715f), splat(0.7978845608f));
  }
  static LANES_INLINE vf value(vf x, vf) { return 0.5f * x * (1.0f + hyperbolic_tangent(inner(x))); }
  static LANES_INLINE vf derivative(vf x, vf) {
    const vf t = hyperbolic_tangent(inner(x));
    const vf slope = multiply_add(x * x, splat(3.0f * 0.7978845608f * 0.044715f), splat(0.7978845608f));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
  }
};

template <>
struct Function<kPrelu> {
  static LANES_INLINE vf value(vf x, vf slope) { return select(x > 0.0f, x, x * slope); }
  static LANES_INLINE vf derivative(vf x, vf slope) { return select(x > 0.0f, splat(1.0f), slope); }
};

// Counts are multiples of 16.
template <Activation kActivation>
void activation_forward(const ActivationRow& row) {
  const vf parameter = splat(row.parameter);
  for (std::int64_t i = 0; i < row.count; i += kWidth)
    store(row.out + i, Function<kActivation>::value(load(row.x + i), parameter));
}

template <Activation kActivation>
void activation_backward(const ActivationRow& row) {
  const vf parameter = splat(row.parameter);
  for (std::int64_t i = 0; i < row.count; i += kWidth)
    store(row.out + i, load(row.gradient + i) * Function<kActivation>::derivative(load(row.x + i), parameter));
}

template <Activation... kEach>
void list_activations(KernelTable& table) {
  ((table.activation_forward[kEach] = activation_forward<kEach>,
    table.activation_backward[kEach] = activation_backward<kEach>),
   ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
