#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Winograd transforms F(m, 3) along one axis: m outputs of a convolution with three weights from m + 2 inputs. They
// need m + 2 instead of 3 m multiplications. conv/winograd_domain.h transforms the weights of the 1-D algorithm.
namespace mnistcnn::engine::lanes {
namespace {

// F(4, 3) with the points 0, +-sqrt(1/2), infinity and +-sqrt(2). Their rounding error is close to that of the direct
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
    v[3] = multiply_add(splat(-2.5f), x[3], x[1] + x[5]);
    v[4] = multiply_add(splat(kPointB), odd_b, even_b);
    v[5] = multiply_add(splat(-kPointB), odd_b, even_b);
  }

  // Transform values of the domain to input gradients: the transpose of `inputs`.
  static LANES_INLINE void input_gradients(const vf (&v)[6], vf (&x)[6]) {
    const vf even_a = v[1] + v[2], odd_a = splat(kPointA) * (v[1] - v[2]);
    const vf even_b = v[4] + v[5], odd_b = splat(kPointB) * (v[4] - v[5]);
    x[0] = v[0];
    x[1] = multiply_add(splat(-2.0f), odd_a, multiply_add(splat(-0.5f), odd_b, v[3]));
    x[2] = multiply_add(splat(-2.5f), v[0], multiply_add(splat(-2.0f), even_a, splat(-0.5f) * even_b));
    x[3] = multiply_add(splat(-2.5f), v[3], odd_a + odd_b);
    x[4] = v[0] + (even_a + even_b);
    x[5] = v[3];
  }

  static LANES_INLINE void outputs(const vf (&m)[6], vf (&y)[4]) {
    const vf even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[4] + m[5], odd_b = m[4] - m[5];
    y[0] = m[0] + (even_a + even_b);
    y[1] = multiply_add(splat(kPointB), odd_b, splat(kPointA) * odd_a);
    y[2] = multiply_add(splat(2.0f), even_b, splat(0.5f) * even_a);
    y[3] = multiply_add(splat(kCubeB), odd_b, multiply_add(splat(kCubeA), odd_a, m[3]));
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
    v[3] = d[3];
    v[4] = even_b + odd_b;
    v[5] = even_b - odd_b;
  }

  // Transform sums in the domain to weight gradients.
  static LANES_INLINE void weights(const vf (&s)[6], vf (&w)[3]) {
    const vf even_a = splat(kWeightA) * (s[1] + s[2]), odd_a = splat(kWeightA) * (s[1] - s[2]);
    const vf even_b = splat(kWeightB) * (s[4] + s[5]), odd_b = splat(kWeightB) * (s[4] - s[5]);
    w[0] = s[0] + (even_a + even_b);
    w[1] = multiply_add(splat(kPointB), odd_b, splat(kPointA) * odd_a);
    w[2] = multiply_add(splat(2.0f), even_b, multiply_add(splat(0.5f), even_a, s[3]));
  }

  // Transform three weights along one axis, in double.
  template <class Doubles>
  static LANES_INLINE void weights_to_domain(const Doubles (&w)[3], Doubles (&u)[6]) {
    constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;
    const Doubles even_a = w[0] + 0.5 * w[2], odd_a = kA * w[1], even_b = w[0] + 2.0 * w[2], odd_b = kB * w[1];
    u[0] = w[0];
    u[1] = (even_a + odd_a) * (-2.0 / 3);
    u[2] = (even_a - odd_a) * (-2.0 / 3);
    u[3] = w[2];
    u[4] = (even_b + odd_b) * (1.0 / 6);
    u[5] = (even_b - odd_b) * (1.0 / 6);
  }
};

// F(3, 3) with the first five points of F43, and F(2, 3) with the first four. They use the weights that F43 has
// transformed: the transforms of inputs include the quotients of their Lagrange factors and those of F43.
struct ShortF33 {
  static constexpr int kPoints = 5, kOutputs = 3;
  static constexpr float kPointA = F43::kPointA, kPointB = F43::kPointB;

  static LANES_INLINE void inputs(const vf (&x)[5], vf (&v)[5]) {
    v[0] =
        multiply_add(splat(kPointB), x[3], multiply_add(splat(-2.0f), x[2], multiply_add(splat(-kPointA), x[1], x[0])));
    v[1] = multiply_add(splat(1.5f * kPointB), x[3] - x[1], splat(-1.5f) * x[2]);
    v[2] = multiply_add(splat(0.5f * kPointB), x[3] + x[1], splat(-1.5f) * x[2]);
    v[3] =
        multiply_add(splat(-kPointB), x[3], multiply_add(splat(-0.5f), x[2], multiply_add(splat(kPointA), x[1], x[4])));
    v[4] = multiply_add(splat(2 * kPointB), x[3], splat(-kPointB) * x[1]);
  }

  static LANES_INLINE void input_gradients(const vf (&v)[5], vf (&x)[5]) {
    const vf one = splat(1.5f * kPointB) * v[1], two = splat(0.5f * kPointB) * v[2], four = splat(kPointB) * v[4];
    x[0] = v[0];
    x[1] = multiply_add(splat(kPointA), v[3] - v[0], (two - one) - four);
    x[2] = multiply_add(splat(-2.0f), v[0], multiply_add(splat(-0.5f), v[3], splat(-1.5f) * (v[1] + v[2])));
    x[3] = multiply_add(splat(kPointB), v[0] - v[3], multiply_add(splat(2.0f), four, one + two));
    x[4] = v[3];
  }

  static LANES_INLINE void outputs(const vf (&m)[5], vf (&y)[3]) {
    const vf even = m[1] + m[2], odd = m[1] - m[2];
    y[0] = m[0] + (even + m[4]);
    y[1] = multiply_add(splat(kPointB), m[4], splat(kPointA) * odd);
    y[2] = multiply_add(splat(2.0f), m[4], multiply_add(splat(0.5f), even, m[3]));
  }

  static LANES_INLINE void gradients(const vf (&d)[3], vf (&v)[5]) {
    const vf even = multiply_add(splat(0.5f), d[2], d[0]), odd = splat(kPointA) * d[1];
    v[0] = d[0];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = d[2];
    v[4] = multiply_add(splat(2.0f), d[2], multiply_add(splat(kPointB), d[1], d[0]));
  }
};

struct ShortF23 {
  static constexpr int kPoints = 4, kOutputs = 2;
  static constexpr float kPointA = F43::kPointA;

  static LANES_INLINE void inputs(const vf (&x)[4], vf (&v)[4]) {
    const vf even = splat(-1.5f) * x[2];
    v[0] = multiply_add(splat(-2.0f), x[2], x[0]);
    v[1] = multiply_add(splat(-1.5f * kPointA), x[1], even);
    v[2] = multiply_add(splat(1.5f * kPointA), x[1], even);
    v[3] = multiply_add(splat(-0.5f), x[1], x[3]);
  }

  static LANES_INLINE void input_gradients(const vf (&v)[4], vf (&x)[4]) {
    x[0] = v[0];
    x[1] = multiply_add(splat(-0.5f), v[3], splat(-1.5f * kPointA) * (v[1] - v[2]));
    x[2] = multiply_add(splat(-2.0f), v[0], splat(-1.5f) * (v[1] + v[2]));
    x[3] = v[3];
  }

  static LANES_INLINE void outputs(const vf (&m)[4], vf (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = multiply_add(splat(kPointA), m[1] - m[2], m[3]);
  }

  static LANES_INLINE void gradients(const vf (&d)[2], vf (&v)[4]) {
    const vf odd = splat(kPointA) * d[1];
    v[0] = d[0];
    v[1] = d[0] + odd;
    v[2] = d[0] - odd;
    v[3] = d[1];
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
