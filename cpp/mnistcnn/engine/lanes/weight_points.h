#pragma once
#include <array>

// Three weights at the points of kernels/winograd_points.h. In double: they are packed once a step, and each rounding
// here would be in every product.
namespace mnistcnn::engine::lanes {

inline std::array<double, 6> at_six_points(double first, double second, double third) {
  constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;
  const double even_a = first + 0.5 * third, odd_a = kA * second, even_b = first + 2 * third, odd_b = kB * second;
  return {
      first, (even_a + odd_a) * (-2.0 / 3), (even_a - odd_a) * (-2.0 / 3), (even_b + odd_b) / 6, (even_b - odd_b) / 6,
      third};
}

inline std::array<double, 4> at_four_points(double first, double second, double third) {
  const double even = 0.5 * (first + third), odd = 0.5 * second;
  return {first, even + odd, even - odd, third};
}

}  // namespace mnistcnn::engine::lanes
