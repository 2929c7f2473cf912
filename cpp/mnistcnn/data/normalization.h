#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace mnistcnn::data {

// Normalization of pixels: the input of a network is (p / 255 - mean) / deviation for a pixel p in 0 to 255.
struct Normalization {
  double mean = 0, deviation = 1;

  // Equivalent form: p * scale + shift.
  constexpr double scale() const { return 1 / (255 * deviation); }
  constexpr double shift() const { return -mean / deviation; }
};

inline constexpr Normalization kMnist{0.1307, 0.3081};  // statistics of the MNIST training set
inline constexpr Normalization kUnit{};                 // p / 255

// scaled[i] = pixels[i] * scale + shift. Both spans must have the same size.
inline void scale_pixels(std::span<const std::uint8_t> pixels, float scale, float shift, std::span<float> scaled) {
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] = static_cast<float>(pixels[i]) * scale + shift;
}

}  // namespace mnistcnn::data
