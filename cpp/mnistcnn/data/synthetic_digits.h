#pragma once
#include <cstdint>
#include <span>

// Handwritten-looking digits in MNIST's format, drawn rather than stored: a pen follows a skeleton, and every
// hand bends, slants, stretches and presses in its own way.
namespace mnistcnn::data {

inline constexpr int kDigitSide = 28;

struct DigitsOptions {
  std::uint64_t seed = 0;
  std::uint64_t first_index = 0;  // images first_index, first_index + 1, ... of the endless set of this seed
  int threads = 0;                // 0: as many as there are cores for this process
};

// Fills `images` (u8 [N, 28, 28], ink is 255) and `labels` (i64 [N], 0 to 9). Image i is a pure function of
// (seed, first_index + i): the number of threads and the other images don't matter.
// Throws std::invalid_argument when the sizes don't fit each other or threads < 0.
void draw_digits(std::span<std::uint8_t> images, std::span<std::int64_t> labels, const DigitsOptions& options = {});

}  // namespace mnistcnn::data
