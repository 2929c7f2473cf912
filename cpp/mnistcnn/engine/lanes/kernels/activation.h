#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Activation functions that are not fused, and their derivatives. Called through ops/elementwise_ops.
namespace mnistcnn::engine::lanes {
namespace {

struct Constants {
  vf first, second;
};

template <Activation kActivation>
struct Function;

template <>
struct Function<kTanh> {
  static LANES_INLINE vf value(vf x, Constants) { return hyperbolic_tangent(x); }
  static LANES_INLINE vf derivative(vf x, Constants) {
    const vf y = hyperbolic_tangent(x);
    return 1.0f - y * y;
  }
};

template <>
struct Function<kSigmoid> {
  static LANES_INLINE vf value(vf x, Constants) { return sigmoid(x); }
  static LANES_INLINE vf derivative(vf x, Constants) {
    const Sigmoids s = sigmoids(x);
    return s.of_x * s.of_minus_x;
  }
};

template <>
struct Function<kElu> {
  static LANES_INLINE vf value(vf x, Constants c) {
    // e^x - 1 without cancellation: 2 tanh(x/2) / (1 - tanh(x/2))
    const vf t = hyperbolic_tangent(larger(splat(-40.0f), select(x > 0.0f, vf{}, x)) * 0.5f);
    return select(x > 0.0f, x, c.first * (2.0f * t / (1.0f - t)));
  }
  static LANES_INLINE vf derivative(vf x, Constants c) {
    return select(x > 0.0f, splat(1.0f), c.first * exponential(x));
  }
};

template <>
struct Function<kRelu6> {
  static LANES_INLINE vf value(vf x, Constants) { return select(x <= 0.0f, vf{}, select(x >= 6.0f, splat(6.0f), x)); }
  static LANES_INLINE vf derivative(vf x, Constants) { return select((x <= 0.0f) | (x >= 6.0f), vf{}, splat(1.0f)); }
};

template <>
struct Function<kHardswish> {
  static LANES_INLINE vf value(vf x, Constants) {
    const vf gate = x + 3.0f;
    return x * select(gate <= 0.0f, vf{}, select(gate >= 6.0f, splat(6.0f), gate)) * (1.0f / 6.0f);
  }
  static LANES_INLINE vf derivative(vf x, Constants) {
    return select(x <= -3.0f, vf{}, select(x >= 3.0f, splat(1.0f), multiply_add(x, splat(1.0f / 3.0f), splat(0.5f))));
  }
};

template <>
struct Function<kGelu> {
  static LANES_INLINE vf cumulative(vf x) {
    return multiply_add(error_function(x * 0.70710678f), splat(0.5f), splat(0.5f));
  }
  static LANES_INLINE vf value(vf x, Constants) { return x * cumulative(x); }
  static LANES_INLINE vf derivative(vf x, Constants) {
    const vf density = exponential(x * x * -0.5f) * 0.39894228f;
    return multiply_add(x, density, cumulative(x));
  }
};

template <>
struct Function<kGeluTanh> {
  static LANES_INLINE vf inner(vf x) {
    return x * multiply_add(x * x, splat(0.7978845608f * 0.044715f), splat(0.7978845608f));
  }
  static LANES_INLINE vf value(vf x, Constants) { return 0.5f * x * (1.0f + hyperbolic_tangent(inner(x))); }
  static LANES_INLINE vf derivative(vf x, Constants) {
    const vf t = hyperbolic_tangent(inner(x));
    const vf slope = multiply_add(x * x, splat(3.0f * 0.7978845608f * 0.044715f), splat(0.7978845608f));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
  }
};

template <>
struct Function<kPrelu> {
  static LANES_INLINE vf value(vf x, Constants c) { return select(x > 0.0f, x, x * c.first); }
  static LANES_INLINE vf derivative(vf x, Constants c) { return select(x > 0.0f, splat(1.0f), c.first); }
};

// x * tanh(log(1 + e^x)). With n = e^x (e^x + 2) the tanh is n / (n + 2). For positive x, numerator and denominator are
// scaled by e^-2x. Then only e = e^-|x| is computed, so there is neither overflow nor cancellation.
template <>
struct Function<kMish> {
  static LANES_INLINE vf denominator(vf x, vf e) {
    return select(x < 0.0f, multiply_add(e, e + 2.0f, splat(2.0f)), multiply_add(e + e, e + 1.0f, splat(1.0f)));
  }
  static LANES_INLINE vf value(vf x, Constants) {
    const vf e = exponential_of_minus_absolute(x);
    const vf numerator = select(x < 0.0f, e * (e + 2.0f), multiply_add(e, splat(2.0f), splat(1.0f)));
    return x * (numerator / denominator(x, e));
  }
  static LANES_INLINE vf derivative(vf x, Constants) {
    // tanh + x * (1 - tanh^2) * sigmoid(x), with 1 - tanh^2 = 4 (1 + e^x)^2 / (n + 2)^2
    const vf e = exponential_of_minus_absolute(x), reciprocal = 1.0f / denominator(x, e);
    const vf numerator = select(x < 0.0f, e * (e + 2.0f), multiply_add(e, splat(2.0f), splat(1.0f)));
    const vf slope = select(x < 0.0f, e, e * e) * (e + 1.0f) * (reciprocal * reciprocal) * 4.0f;
    return multiply_add(x, slope, numerator * reciprocal);
  }
};

// first: beta, second: threshold
template <>
struct Function<kSoftplus> {
  static LANES_INLINE vf value(vf x, Constants c) {
    const vf v = x * c.first;
    const vf sum = larger(v, vf{}) + logarithm_of_one_plus(exponential_of_minus_absolute(v));
    return select(v > c.second, x, sum / c.first);
  }
  static LANES_INLINE vf derivative(vf x, Constants c) {
    const vf v = x * c.first;
    return select(v > c.second, splat(1.0f), sigmoid(v));
  }
};

template <>
struct Function<kReciprocal> {
  static LANES_INLINE vf value(vf x, Constants) { return 1.0f / x; }
  static LANES_INLINE vf derivative(vf x, Constants) {
    const vf y = 1.0f / x;
    return -(y * y);
  }
};

LANES_INLINE Constants constants_of(const ActivationArguments& row) {
  return {splat(static_cast<float>(row.parameters.first)), splat(static_cast<float>(row.parameters.second))};
}

template <Activation kActivation>
void activation_forward(const ActivationArguments& row) {
  const Constants constants = constants_of(row);
  for (std::int64_t i = 0; i < row.count; i += kWidth)
    store(row.out + i, Function<kActivation>::value(load(row.x + i), constants));
}

template <Activation kActivation>
void activation_backward(const ActivationArguments& row) {
  const Constants constants = constants_of(row);
  for (std::int64_t i = 0; i < row.count; i += kWidth)
    store(row.out + i, load(row.gradient + i) * Function<kActivation>::derivative(load(row.x + i), constants));
}

template <Activation... kEach>
void fill_activations(KernelTable& table) {
  ((table.activation_forward[kEach] = activation_forward<kEach>,
    table.activation_backward[kEach] = activation_backward<kEach>),
   ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
