#pragma once
#include <cstdint>
#include <span>

// Generator of synthetic handwritten digits in the format of MNIST. It renders the strokes of a random skeleton with
// random shape, slant, proportions and pen pressure.
namespace mnistcnn::data {

inline constexpr int kDigitSide = 28;

struct DigitsOptions {
  std::uint64_t seed = 0;
  std::uint64_t first_index = 0;  // index of the first image in the infinite sequence of this seed
  int threads = 0;                // 0: number of available cores
};

// Fill `images` (u8 [N, 28, 28], ink is 255) and `labels` (i64 [N], 0 to 9). Image i is a pure function of
// (seed, first_index + i). Throw std::invalid_argument if the sizes do not match or threads < 0.
void draw_digits(std::span<std::uint8_t> images, std::span<std::int64_t> labels, const DigitsOptions& options = {});

}  // namespace mnistcnn::data
