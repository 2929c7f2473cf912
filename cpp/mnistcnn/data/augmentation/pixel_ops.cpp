#include "mnistcnn/data/augmentation/pixel_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

namespace mnistcnn::data::augmentation {
namespace {

Rectangle clipped(const Size& size, Rectangle r) {
  const std::int64_t top = std::max<std::int64_t>(r.top, 0), left = std::max<std::int64_t>(r.left, 0);
  const std::int64_t bottom = std::min(r.top + r.height, size.height), right = std::min(r.left + r.width, size.width);
  return {top, left, std::max<std::int64_t>(bottom - top, 0), std::max<std::int64_t>(right - left, 0)};
}

// ---- intensity

using Table = std::array<std::uint8_t, 256>;

// Lookup table of Pillow's Image.blend between the constant `dark` and the image.
Table blend_table(int dark, double factor) {
  Table table;
  const auto weight = static_cast<float>(factor);
  for (int value = 0; value < 256; ++value) {
    const float blended = static_cast<float>(dark) + weight * static_cast<float>(value - dark);
    table[static_cast<std::size_t>(value)] = static_cast<std::uint8_t>(std::clamp(blended, 0.0F, 255.0F));
  }
  return table;
}

void apply_table(std::uint8_t* image, const Size& size, const Table& table) {
  for (std::int64_t i = 0; i < size.bytes(); ++i) image[i] = table[image[i]];
}

// Return the rounded mean grey value. RGB images use Pillow's luma weights.
int mean_grey(const std::uint8_t* image, const Size& size) {
  std::int64_t sum = 0;
  const std::int64_t plane = size.plane();
  const bool is_rgb = size.channels == 3;
  for (std::int64_t i = 0; is_rgb && i < plane; ++i)
    sum += (image[i] * 19595 + image[plane + i] * 38470 + image[2 * plane + i] * 7471 + 0x8000) >> 16;
  for (std::int64_t i = 0; !is_rgb && i < size.bytes(); ++i) sum += image[i];
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(is_rgb ? plane : size.bytes()) + 0.5);
}

// ---- thickness

struct Maximum {
  static std::uint8_t apply(std::uint8_t a, std::uint8_t b) { return std::max(a, b); }
};
struct Minimum {
  static std::uint8_t apply(std::uint8_t a, std::uint8_t b) { return std::min(a, b); }
};

// Combine each pixel with its left and right neighbours.
template <class Operation>
void filter_row(const std::uint8_t* in, std::int64_t width, std::uint8_t* out) {
  if (width == 1) {
    out[0] = in[0];
    return;
  }
  out[0] = Operation::apply(in[0], in[1]);
  for (std::int64_t x = 1; x + 1 < width; ++x) out[x] = Operation::apply(in[x], Operation::apply(in[x - 1], in[x + 1]));
  out[width - 1] = Operation::apply(in[width - 1], in[width - 2]);
}

template <class Operation>
void combine(const std::uint8_t* in, std::int64_t count, std::uint8_t* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = Operation::apply(out[i], in[i]);
}

// Apply a 3 x 3 filter with a square or a plus-shaped structuring element. Pixels outside the image are ignored.
template <class Operation>
void filter_3x3(const std::uint8_t* in, PlaneSize size, bool square, std::uint8_t* out, std::uint8_t* scratch) {
  const std::int64_t width = size.width;
  for (std::int64_t y = 0; y < size.height; ++y) filter_row<Operation>(in + y * width, width, scratch + y * width);
  std::memcpy(out, scratch, static_cast<std::size_t>(size.height * width));
  const std::uint8_t* const neighbours = square ? scratch : in;
  for (std::int64_t y = 0; y < size.height; ++y) {
    if (y > 0) combine<Operation>(neighbours + (y - 1) * width, width, out + y * width);
    if (y + 1 < size.height) combine<Operation>(neighbours + (y + 1) * width, width, out + y * width);
  }
}

// Alternating plus and square elements approximate an octagon of radius `distance`. A fractional distance interpolates
// between the two nearest integer distances.
template <class Operation>
void filter_by_distance(const std::uint8_t* in, PlaneSize size, double distance, std::uint8_t* out,
                        std::uint8_t* scratch) {
  const std::int64_t plane = size.height * size.width;
  std::uint8_t *current = scratch, *next = scratch + plane, *const rows = scratch + 2 * plane;
  std::memcpy(current, in, static_cast<std::size_t>(plane));
  const auto full_steps = static_cast<int>(distance);
  const auto fraction = static_cast<int>(std::lround((distance - full_steps) * 256));
  for (int i = 0; i < full_steps; ++i) {
    filter_3x3<Operation>(current, size, i % 2 == 1, next, rows);
    std::swap(current, next);
  }
  filter_3x3<Operation>(current, size, full_steps % 2 == 1, next, rows);
  for (std::int64_t i = 0; i < plane; ++i)
    out[i] = static_cast<std::uint8_t>((current[i] * (256 - fraction) + next[i] * fraction + 128) >> 8);
}

}  // namespace

void fill_rectangle(std::uint8_t* image, const Size& size, Rectangle where, std::uint8_t value) {
  const Rectangle r = clipped(size, where);
  for (std::int64_t c = 0; c < size.channels; ++c)
    for (std::int64_t y = 0; y < r.height; ++y)
      std::memset(image + (c * size.height + r.top + y) * size.width + r.left, value,
                  static_cast<std::size_t>(r.width));
}

void fill_rectangle_with_noise(std::uint8_t* image, const Size& size, Rectangle where, const common::Stream& stream) {
  const Rectangle r = clipped(size, where);
  std::uint64_t drawn = 0;
  for (std::int64_t c = 0; c < size.channels; ++c)
    for (std::int64_t y = 0; y < r.height; ++y) {
      std::uint8_t* const row = image + (c * size.height + r.top + y) * size.width + r.left;
      for (std::int64_t x = 0; x < r.width; ++x) row[x] = static_cast<std::uint8_t>(stream.bits(drawn++) >> 56);
    }
}

void change_brightness(std::uint8_t* image, const Size& size, double factor) {
  if (factor != 1) apply_table(image, size, blend_table(0, factor));
}

void change_contrast(std::uint8_t* image, const Size& size, double factor) {
  if (factor != 1) apply_table(image, size, blend_table(mean_grey(image, size), factor));
}

void dilate_or_erode(const ImageView& in, double amount, std::uint8_t* out, std::uint8_t* scratch) {
  const PlaneSize plane_size{in.size.height, in.size.width};
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const std::int64_t at = c * in.size.plane();
    if (amount >= 0)
      filter_by_distance<Maximum>(in.pixels + at, plane_size, amount, out + at, scratch);
    else
      filter_by_distance<Minimum>(in.pixels + at, plane_size, -amount, out + at, scratch);
  }
}

}  // namespace mnistcnn::data::augmentation
