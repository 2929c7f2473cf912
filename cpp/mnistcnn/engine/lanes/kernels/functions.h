#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// exp, log, log1p, sigmoid, SiLU, tanh and erf, bit-identical on every instruction set with a fused multiply-add.
// Errors are about 1 to 2 ulp.
//
// Sources of the coefficients (licences: see NOTICE):
// - exponential, logarithm, hyperbolic_tangent: Cephes Math Library by Stephen L. Moshier (single/expf.c, logf.c,
// tanhf.c).
// - error_function: Norbert Juffa, "Efficient faithfully rounded implementation of error function erff()",
//   https://stackoverflow.com/a/35148199.
// - logarithm_of_one_plus: fitted for this project.
namespace mnistcnn::engine::lanes {
namespace {

// Horner's scheme, from the highest coefficient to the lowest.
LANES_INLINE vf polynomial(vf, vf sum) { return sum; }
template <class... More>
LANES_INLINE vf polynomial(vf x, vf sum, float next, More... more) {
  return polynomial(x, multiply_add(sum, x, splat(next)), more...);
}

// value * 2^n for integers n in [-252, 254]
LANES_INLINE vf times_power_of_two(vf value, vf n) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_scalef_ps(0xffff, reinterpret_cast<__m512>(value), reinterpret_cast<__m512>(n)));
#else
  // In two factors, because 2^n may be outside the range of normal numbers.
  const auto power = [](vi i) { return reinterpret_cast<vf>((i + 127) << 23); };
  const vi whole = __builtin_convertvector(n, vi), half = whole >> 1;
  return value * power(half) * power(whole - half);
#endif
}

// e^x for x in [-104, 88.8], or NaN
LANES_INLINE vf exponential_in_range(vf x) {
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vf n = multiply_add(x, splat(1.44269504f), magic) - magic;
  vf r = multiply_add(n, splat(-0.693359375f), x);
  r = multiply_add(n, splat(2.12194440e-4f), r);
  const vf p = polynomial(r, splat(1.9875691500e-4f), 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                          1.6666665459e-1f, 5.0000001201e-1f);
  return times_power_of_two(multiply_add(p, r * r, r) + 1.0f, n);
}

// e^x; 0 below -104, infinite above 88.72.
LANES_INLINE vf exponential(vf x) {
  const vf high = splat(88.8f), clamped = larger(splat(-104.0f), select(x < high, x, select(x >= high, high, x)));
  return select(x == x, exponential_in_range(clamped), x);
}

// e^-|x|
LANES_INLINE vf exponential_of_minus_absolute(vf x) {
  const vf negative = reinterpret_cast<vf>(reinterpret_cast<vi>(x) | static_cast<std::int32_t>(0x80000000));
  return exponential_in_range(larger(splat(-104.0f), negative));
}

// ln x for normal x > 0
LANES_INLINE vf logarithm(vf x) {
  const vi bits = reinterpret_cast<vi>(x);
  vi exponent = (bits >> 23) - 126;
  vf m = reinterpret_cast<vf>((bits & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  const vi small = m < 0.707106781f;
  exponent = exponent + small;  // true is -1
  m = select(small, m + m, m) - 1.0f;
  const vf e = __builtin_convertvector(exponent, vf), square = m * m;
  vf y = polynomial(m, splat(7.0376836292e-2f), -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                    1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
  y = y * m * square;
  y = multiply_add(e, splat(-2.12194440e-4f), y);
  y = multiply_add(square, splat(-0.5f), y);
  const vf result = multiply_add(e, splat(0.693359375f), m + y);
  return select(x == x, result, x);
}

// ln(1 + x) for x in [0, 1], with a small relative error also for tiny x: 2 artanh(s) with s = x / (2 + x). The
// polynomial approximates (artanh(s) / s - 1) / s^2 in s^2 <= 1/9 within 2e-9.
LANES_INLINE vf logarithm_of_one_plus(vf x) {
  const vf s = x / (x + 2.0f), t = s * s, twice = s + s;
  const vf p =
      polynomial(t, splat(1.2150462539e-1f), 1.0713830387e-1f, 1.4308442240e-1f, 1.9999438879e-1f, 3.3333337811e-1f);
  return multiply_add(twice * t, p, twice);
}

LANES_INLINE vf absolute(vf x) { return reinterpret_cast<vf>(reinterpret_cast<vi>(x) & 0x7fffffff); }
LANES_INLINE vf with_sign_of(vf magnitude, vf sign) {
  return reinterpret_cast<vf>(reinterpret_cast<vi>(magnitude) |
                              (reinterpret_cast<vi>(sign) & static_cast<std::int32_t>(0x80000000)));
}

struct Sigmoids {
  vf of_x, of_minus_x;
};

// sigmoid(x) and sigmoid(-x), computed from e^-|x|, which cannot overflow.
LANES_INLINE Sigmoids sigmoids(vf x) {
  const vf e = exponential_of_minus_absolute(x);
  const vf reciprocal = 1.0f / (1.0f + e), small = e * reciprocal, large = select(x == x, reciprocal, x);
  return {select(x < 0.0f, small, large), select(x > 0.0f, small, large)};
}

LANES_INLINE vf sigmoid(vf x) { return sigmoids(x).of_x; }

LANES_INLINE vf silu(vf x) { return x * sigmoid(x); }
LANES_INLINE vf silu_derivative(vf x) {
  const Sigmoids s = sigmoids(x);
  return multiply_add(x * s.of_x, s.of_minus_x, s.of_x);
}

LANES_INLINE vf hyperbolic_tangent(vf x) {
  const vf a = absolute(x), s = x * x;
  const vf p = polynomial(s, splat(-5.70498872745e-3f), 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                          -3.33332819422e-1f);
  const vf small = multiply_add(p * s, x, x);
  const vf e = exponential(a + a);
  const vf large = with_sign_of(1.0f - 2.0f / (e + 1.0f), x);
  return select(a < 0.625f, small, select(x == x, large, x));
}

LANES_INLINE vf error_function(vf x) {
  const vf t = absolute(x), s = x * x;
  vf r = multiply_add(splat(-1.72853470e-5f), t, splat(3.83197126e-4f));
  const vf u = multiply_add(splat(-3.88396438e-3f), t, splat(2.42546219e-2f));
  r = polynomial(t, multiply_add(r, s, u), -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f);
  r = multiply_add(r, t, -t);
  const vf large = with_sign_of(1.0f - exponential(select(t < 10.0f, r, splat(-104.0f))), x);
  const vf p = polynomial(s, splat(-5.96761703e-4f), 4.99119423e-3f, -2.67681349e-2f, 1.12819925e-1f, -3.76125336e-1f,
                          1.28379166e-1f);
  const vf small = multiply_add(p, x, x);
  return select(t > 0.927734375f, select(x == x, large, x), small);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
