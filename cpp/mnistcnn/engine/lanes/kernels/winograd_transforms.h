#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Winograd transforms F(m, 3) along one axis: m outputs of a convolution with three weights from m + 2 inputs,
// with m + 2 instead of 3 m multiplications. conv/winograd_domain.h transforms the weights.
namespace mnistcnn::engine::lanes {
namespace {

// F(4, 3) with the points 0, +-sqrt(1/2), +-sqrt(2) and infinity. Their rounding error is close to that of the direct
// sum; the usual points 0, +-1, +-2 and infinity double it. On the influence of the points see Barabasz et al., "Error
// Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2018,
// https://arxiv.org/abs/1803.10986.
struct F43 {
  static constexpr int kPoints = 6, kOutputs = 4;
  static constexpr float kPointA = 0.70710678118654752f, kPointB = 1.41421356237309505f;  // the points
  static constexpr float kCubeA = 0.35355339059327376f, kCubeB = 2.82842712474619010f;    // and their cubes
  static constexpr float kWeightA = static_cast<float>(-2.0 / 3), kWeightB = static_cast<float>(1.0 / 6);  // Lagrange

  static LANES_INLINE void inputs(const vf (&x)[6], vf (&v)[6]) {
    const vf even_a = multiply_add(splat(-2.0f), x[2], x[4]), odd_a = multiply_add(splat(-2.0f), x[1], x[3]);
    const vf even_b = multiply_add(splat(-0.5f), x[2], x[4]), odd_b = multiply_add(splat(-0.5f), x[1], x[3]);
    v[0] = multiply_add(splat(-2.5f), x[2], x[0] + x[4]);
    v[1] = multiply_add(splat(kPointA), odd_a, even_a);
    v[2] = multiply_add(splat(-kPointA), odd_a, even_a);
    v[3] = multiply_add(splat(kPointB), odd_b, even_b);
    v[4] = multiply_add(splat(-kPointB), odd_b, even_b);
    v[5] = multiply_add(splat(-2.5f), x[3], x[1] + x[5]);
  }

  // Transform values of the domain to input gradients: the transpose of `inputs`.
  static LANES_INLINE void input_gradients(const vf (&v)[6], vf (&x)[6]) {
    const vf even_a = v[1] + v[2], odd_a = splat(kPointA) * (v[1] - v[2]);
    const vf even_b = v[3] + v[4], odd_b = splat(kPointB) * (v[3] - v[4]);
    x[0] = v[0];
    x[1] = multiply_add(splat(-2.0f), odd_a, multiply_add(splat(-0.5f), odd_b, v[5]));
    x[2] = multiply_add(splat(-2.5f), v[0], multiply_add(splat(-2.0f), even_a, splat(-0.5f) * even_b));
    x[3] = multiply_add(splat(-2.5f), v[5], odd_a + odd_b);
    x[4] = v[0] + (even_a + even_b);
    x[5] = v[5];
  }

  static LANES_INLINE void outputs(const vf (&m)[6], vf (&y)[4]) {
    const vf even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = multiply_add(splat(kPointB), odd_b, splat(kPointA) * odd_a);
    y[2] = multiply_add(splat(2.0f), even_b, splat(0.5f) * even_a);
    y[3] = multiply_add(splat(kCubeB), odd_b, multiply_add(splat(kCubeA), odd_a, m[5]));
  }

  // Transform output gradients to the domain: the transpose of `outputs`.
  static LANES_INLINE void gradients(const vf (&d)[4], vf (&v)[6]) {
    const vf even_a = multiply_add(splat(0.5f), d[2], d[0]);
    const vf odd_a = multiply_add(splat(kCubeA), d[3], splat(kPointA) * d[1]);
    const vf even_b = multiply_add(splat(2.0f), d[2], d[0]);
    const vf odd_b = multiply_add(splat(kCubeB), d[3], splat(kPointB) * d[1]);
    v[0] = d[0];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = d[3];
  }

  // Transform sums in the domain to weight gradients.
  static LANES_INLINE void weights(const vf (&s)[6], vf (&w)[3]) {
    const vf even_a = splat(kWeightA) * (s[1] + s[2]), odd_a = splat(kWeightA) * (s[1] - s[2]);
    const vf even_b = splat(kWeightB) * (s[3] + s[4]), odd_b = splat(kWeightB) * (s[3] - s[4]);
    w[0] = s[0] + (even_a + even_b);
    w[1] = multiply_add(splat(kPointB), odd_b, splat(kPointA) * odd_a);
    w[2] = multiply_add(splat(2.0f), even_b, multiply_add(splat(0.5f), even_a, s[5]));
  }
};

// F(2, 3) with the points 0, +-1 and infinity, as accurate as the direct sum.
struct F23 {
  static constexpr int kPoints = 4, kOutputs = 2;

  static LANES_INLINE void inputs(const vf (&x)[4], vf (&v)[4]) {
    v[0] = x[0] - x[2];
    v[1] = x[1] + x[2];
    v[2] = x[2] - x[1];
    v[3] = x[3] - x[1];
  }

  static LANES_INLINE void outputs(const vf (&m)[4], vf (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }

  static LANES_INLINE void gradients(const vf (&d)[2], vf (&v)[4]) {
    v[0] = d[0];
    v[1] = d[0] + d[1];
    v[2] = d[0] - d[1];
    v[3] = d[1];
  }

  static LANES_INLINE void weights(const vf (&s)[4], vf (&w)[3]) {
    const vf even = splat(0.5f) * (s[1] + s[2]);
    w[0] = s[0] + even;
    w[1] = splat(0.5f) * (s[1] - s[2]);
    w[2] = even + s[3];
  }
};

}  // namespace
}  // namespace mnistcnn::engine::lanes
