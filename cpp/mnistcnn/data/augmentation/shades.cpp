#include "mnistcnn/data/augmentation/shades.h"

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

// ---- shades

using Table = std::array<std::uint8_t, 256>;

// Every byte between `dark` and itself, or beyond: Pillow's Image.blend.
Table blend_table(int dark, double factor) {
  Table table;
  const auto share = static_cast<float>(factor);
  for (int value = 0; value < 256; ++value) {
    const float blended = static_cast<float>(dark) + share * static_cast<float>(value - dark);
    table[static_cast<std::size_t>(value)] = static_cast<std::uint8_t>(std::clamp(blended, 0.0F, 255.0F));
  }
  return table;
}

void look_up(std::uint8_t* image, const Size& size, const Table& table) {
  for (std::int64_t i = 0; i < size.bytes(); ++i) image[i] = table[image[i]];
}

// The mean grey, rounded; of three channels as Pillow weighs them.
int mean_grey(const std::uint8_t* image, const Size& size) {
  std::int64_t sum = 0;
  const std::int64_t plane = size.plane();
  const bool colours = size.channels == 3;
  for (std::int64_t i = 0; colours && i < plane; ++i)
    sum += (image[i] * 19595 + image[plane + i] * 38470 + image[2 * plane + i] * 7471 + 0x8000) >> 16;
  for (std::int64_t i = 0; !colours && i < size.bytes(); ++i) sum += image[i];
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(colours ? plane : size.bytes()) + 0.5);
}

// ---- thickness

struct Brighter {
  static std::uint8_t of(std::uint8_t a, std::uint8_t b) { return std::max(a, b); }
};
struct Darker {
  static std::uint8_t of(std::uint8_t a, std::uint8_t b) { return std::min(a, b); }
};

// Each pixel with its left and right neighbours.
template <class Choice>
void spread_row(const std::uint8_t* in, std::int64_t width, std::uint8_t* out) {
  if (width == 1) {
    out[0] = in[0];
    return;
  }
  out[0] = Choice::of(in[0], in[1]);
  for (std::int64_t x = 1; x + 1 < width; ++x) out[x] = Choice::of(in[x], Choice::of(in[x - 1], in[x + 1]));
  out[width - 1] = Choice::of(in[width - 1], in[width - 2]);
}

template <class Choice>
void choose(const std::uint8_t* in, std::int64_t count, std::uint8_t* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = Choice::of(out[i], in[i]);
}

// One pixel in every direction: by a square of 3 x 3, or by a plus. Outside the image there is nothing.
template <class Choice>
void spread(const std::uint8_t* in, Sides size, bool square, std::uint8_t* out, std::uint8_t* scratch) {
  const std::int64_t width = size.width;
  for (std::int64_t y = 0; y < size.height; ++y) spread_row<Choice>(in + y * width, width, scratch + y * width);
  std::memcpy(out, scratch, static_cast<std::size_t>(size.height * width));
  const std::uint8_t* const neighbours = square ? scratch : in;
  for (std::int64_t y = 0; y < size.height; ++y) {
    if (y > 0) choose<Choice>(neighbours + (y - 1) * width, width, out + y * width);
    if (y + 1 < size.height) choose<Choice>(neighbours + (y + 1) * width, width, out + y * width);
  }
}

// Plus and square in turns make octagons.
template <class Choice>
void spread_by(const std::uint8_t* in, Sides size, double distance, std::uint8_t* out, std::uint8_t* scratch) {
  const std::int64_t plane = size.height * size.width;
  std::uint8_t *now = scratch, *next = scratch + plane, *const rows = scratch + 2 * plane;
  std::memcpy(now, in, static_cast<std::size_t>(plane));
  const auto whole = static_cast<int>(distance);
  const auto part = static_cast<int>(std::lround((distance - whole) * 256));
  for (int i = 0; i < whole; ++i) {
    spread<Choice>(now, size, i % 2 == 1, next, rows);
    std::swap(now, next);
  }
  spread<Choice>(now, size, whole % 2 == 1, next, rows);
  for (std::int64_t i = 0; i < plane; ++i)
    out[i] = static_cast<std::uint8_t>((now[i] * (256 - part) + next[i] * part + 128) >> 8);
}

}  // namespace

void paint(std::uint8_t* image, const Size& size, Rectangle where, std::uint8_t value) {
  const Rectangle r = clipped(size, where);
  for (std::int64_t c = 0; c < size.channels; ++c)
    for (std::int64_t y = 0; y < r.height; ++y)
      std::memset(image + (c * size.height + r.top + y) * size.width + r.left, value,
                  static_cast<std::size_t>(r.width));
}

void paint_noise(std::uint8_t* image, const Size& size, Rectangle where, const common::Stream& stream) {
  const Rectangle r = clipped(size, where);
  std::uint64_t drawn = 0;
  for (std::int64_t c = 0; c < size.channels; ++c)
    for (std::int64_t y = 0; y < r.height; ++y) {
      std::uint8_t* const row = image + (c * size.height + r.top + y) * size.width + r.left;
      for (std::int64_t x = 0; x < r.width; ++x) row[x] = static_cast<std::uint8_t>(stream.bits(drawn++) >> 56);
    }
}

void change_brightness(std::uint8_t* image, const Size& size, double factor) {
  if (factor != 1) look_up(image, size, blend_table(0, factor));
}

void change_contrast(std::uint8_t* image, const Size& size, double factor) {
  if (factor != 1) look_up(image, size, blend_table(mean_grey(image, size), factor));
}

void thicken(const Picture& in, double amount, std::uint8_t* out, std::uint8_t* scratch) {
  const Sides sides{in.size.height, in.size.width};
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const std::int64_t at = c * in.size.plane();
    if (amount >= 0)
      spread_by<Brighter>(in.pixels + at, sides, amount, out + at, scratch);
    else
      spread_by<Darker>(in.pixels + at, sides, -amount, out + at, scratch);
  }
}

}  // namespace mnistcnn::data::augmentation
