#include "mnistcnn/data/augmentation/fields.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace mnistcnn::data::augmentation {
namespace {

// ---- normal numbers

constexpr int kQuantileBits = 12;
constexpr std::size_t kQuantiles = 1 << kQuantileBits;

// Inverse of the standard normal distribution function, computed by bisection.
double normal_quantile(double q) {
  double low = -9, high = 9;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle * std::sqrt(0.5)) < q ? low : high) = middle;
  }
  return (low + high) / 2;
}

// 4096 quantiles of a normal distribution with variance 1/2. The sum of two random entries is approximately standard
// normal.
const std::array<float, kQuantiles>& half_variance_normals() {
  static const std::array<float, kQuantiles> table = [] {
    std::array<double, kQuantiles> exact;
    double squares = 0;
    for (std::size_t i = 0; i < kQuantiles; ++i) {
      exact[i] = normal_quantile((static_cast<double>(i) + 0.5) / kQuantiles);
      squares += exact[i] * exact[i];
    }
    std::array<float, kQuantiles> result;
    const double scale = std::sqrt(0.5 * kQuantiles / squares);
    for (std::size_t i = 0; i < kQuantiles; ++i) result[i] = static_cast<float>(exact[i] * scale);
    return result;
  }();
  return table;
}

// ---- blurring

// Draw two rows of uniform noise in [-1, 1), using one 64-bit number per position.
void draw_noise(const common::Stream& stream, std::uint64_t first, std::size_t count, float* dx, float* dy) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = stream.bits(first + i);
    dx[i] = static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1.0p-31F;
    dy[i] = static_cast<float>(static_cast<std::int32_t>(bits >> 32)) * 0x1.0p-31F;
  }
}

// Convolve with a symmetric kernel: out[x] = sum over t of half[|t|] * middle[x + t * step]. The input must extend
// half.size() - 1 positions beyond both ends.
void blur(const std::vector<float>& half, const float* middle, std::ptrdiff_t step, std::size_t count, float* out) {
  for (std::size_t x = 0; x < count; ++x) out[x] = half[0] * middle[x];
  for (std::size_t t = 1; t < half.size(); ++t) {
    const float weight = half[t];
    const float* const before = middle - static_cast<std::ptrdiff_t>(t) * step;
    const float* const after = middle + static_cast<std::ptrdiff_t>(t) * step;
    for (std::size_t x = 0; x < count; ++x) out[x] += weight * (before[x] + after[x]);
  }
}

}  // namespace

std::vector<float> half_gaussian(double sigma) {
  const auto radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<double> exact;
  double sum = 0;
  for (int t = 0; t <= radius; ++t) {
    exact.push_back(std::exp(-0.5 * (t / sigma) * (t / sigma)));
    sum += exact.back() * (t == 0 ? 1 : 2);
  }
  std::vector<float> half;
  for (const double weight : exact) half.push_back(static_cast<float>(weight / sum));
  return half;
}

std::size_t DisplacementField::scratch_floats(std::size_t half_kernel_size, PlaneSize image) {
  const std::size_t height = static_cast<std::size_t>(image.height), width = static_cast<std::size_t>(image.width);
  const std::size_t border = 2 * (half_kernel_size - 1);
  return 2 * ((height + border) * width + width + border);
}

void DisplacementField::draw(const common::Stream& stream, PlaneSize image, float* dx, float* dy,
                             float* scratch) const {
  const std::size_t height = static_cast<std::size_t>(image.height), width = static_cast<std::size_t>(image.width);
  const std::size_t radius = half_kernel.size() - 1;
  const std::size_t padded_width = width + 2 * radius, padded_height = height + 2 * radius;
  float *noise_x = scratch, *noise_y = noise_x + padded_width, *rows_x = noise_y + padded_width,
        *rows_y = rows_x + padded_height * width;
  for (std::size_t y = 0; y < padded_height; ++y) {
    draw_noise(stream, y * padded_width, padded_width, noise_x, noise_y);
    blur(half_kernel, noise_x + radius, 1, width, rows_x + y * width);
    blur(half_kernel, noise_y + radius, 1, width, rows_y + y * width);
  }
  const auto step = static_cast<std::ptrdiff_t>(width);
  for (std::size_t y = 0; y < height; ++y) {
    blur(half_kernel, rows_x + (y + radius) * width, step, width, dx + y * width);
    blur(half_kernel, rows_y + (y + radius) * width, step, width, dy + y * width);
  }
  for (std::size_t i = 0; i < height * width; ++i) {
    dx[i] *= alpha;
    dy[i] *= alpha;
  }
}

void add_noise(const common::Stream& stream, double std, std::int64_t count, const std::uint8_t* in,
               std::uint8_t* out) {
  const std::array<float, kQuantiles>& normals = half_variance_normals();
  const auto scale = static_cast<float>(255 * std);
  constexpr std::uint64_t kMask = kQuantiles - 1;
  for (std::int64_t i = 0; i < count; ++i) {
    // Two pixels share one random number. Each uses 2 x 12 bits of it as table indices.
    const std::uint64_t bits = stream.bits(static_cast<std::uint64_t>(i / 2)) >> (i % 2 == 0 ? 0 : 32);
    const float normal = normals[bits & kMask] + normals[(bits >> kQuantileBits) & kMask];
    const float value = static_cast<float>(in[i]) + scale * normal;
    out[i] = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F);
  }
}

}  // namespace mnistcnn::data::augmentation
