#include "mnistcnn/data/synthetic_digits.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "mnistcnn/common/random.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/digit_skeletons.h"
#include "mnistcnn/data/parallel.h"

namespace mnistcnn::data {
namespace {

using common::text;

constexpr int kPixels = kDigitSide * kDigitSide;
constexpr float kBox = 20.0F;       // MNIST's digits fit a box of 20 x 20 pixels
constexpr int kSamplesPerSpan = 6;  // straight pieces between two points of a stroke
constexpr int kWarpNodes = 4;       // the smooth warp is a grid of 4 x 4 displacements

// The random numbers of one image, taken one after the other.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t image) : stream_(seed, common::Purpose::kDigits, image) {}

  int below(int count) { return static_cast<int>(stream_.below(next_++, static_cast<std::uint64_t>(count))); }
  float uniform() { return static_cast<float>(stream_.bits(next_++) >> 40) * 0x1.0p-24F; }  // [0, 1)
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  bool chance(float probability) { return uniform() < probability; }
  // Nearly normal, within 3.5 deviations, and the same bits on every platform (sums of four need no
  // logarithm).
  float normal(float deviation) {
    const std::uint64_t bits = stream_.bits(next_++);
    float sum = -2.0F + 2.0F / 65536.0F;
    for (int part = 0; part < 4; ++part) {
      sum += static_cast<float>((bits >> (16 * part)) & 0xffffU) * 0x1.0p-16F;
    }
    return sum * 1.7320508F * deviation;
  }

 private:
  common::Stream stream_;
  std::uint64_t next_ = 0;
};

// A disc of ink on the way of the pen, in skeleton units and later in pixels.
struct Dab {
  float x, y, radius;
  bool pen_down;  // joined with the dab before
};

bool equal(const Point& a, const Point& b) { return a.x == b.x && a.y == b.y; }

// Whether point p is the second of a corner's two.
bool repeats(const Stroke& stroke, std::size_t p) { return p > 0 && equal(stroke[p - 1], stroke[p]); }

bool alike(const Stroke& a, const Stroke& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t p = 0; p < a.size(); ++p) {
    if (repeats(a, p) != repeats(b, p)) return false;
  }
  return true;
}

bool same_family(const Skeleton& a, const Skeleton& b) {
  return a.digit == b.digit &&
         std::equal(a.strokes.begin(), a.strokes.end(), b.strokes.begin(), b.strokes.end(), alike);
}

// A form of the digit by its weight among those that `accept` lets through.
template <class Accept>
const Skeleton& choose(std::span<const Skeleton> all, Draws& draws, Accept accept) {
  float total = 0;
  for (const Skeleton& skeleton : all) total += accept(skeleton) ? skeleton.weight : 0.0F;
  float rest = draws.uniform() * total;
  const Skeleton* last = nullptr;
  for (const Skeleton& skeleton : all) {
    if (!accept(skeleton)) continue;
    last = &skeleton;
    rest -= skeleton.weight;
    if (rest < 0) break;
  }
  return *last;
}

// Moves the points of a stroke from one form towards another, and shifts them a little: one after the other
// in nearly the same direction, as a hand does, and at the ends more than between.
Stroke shaken(const Stroke& form, const Stroke& other, float blend, Point shift, float tremor, Draws& draws) {
  Stroke stroke = form;
  Point drift{draws.normal(tremor), draws.normal(tremor)};
  for (std::size_t p = 0; p < stroke.size(); ++p) {
    if (repeats(form, p)) {
      stroke[p] = stroke[p - 1];
      continue;
    }
    drift = {0.6F * drift.x + 0.8F * draws.normal(tremor), 0.6F * drift.y + 0.8F * draws.normal(tremor)};
    const float loose = p == 0 || p + 1 == stroke.size() ? 1.5F : 1.0F;
    stroke[p].x += blend * (other[p].x - form[p].x) + shift.x + loose * drift.x;
    stroke[p].y += blend * (other[p].y - form[p].y) + shift.y + loose * drift.y;
  }
  return stroke;
}

// Something between two forms of a family.
std::vector<Stroke> shaped(int digit, Draws& draws) {
  const std::span<const Skeleton> all = digit_skeletons();
  const Skeleton& form = choose(all, draws, [&](const Skeleton& s) { return s.digit == digit; });
  const Skeleton& other = choose(all, draws, [&](const Skeleton& s) { return same_family(s, form); });
  const float blend = draws.uniform();
  const float tremor = draws.uniform(1.0F, 5.0F);
  std::vector<Stroke> strokes;
  for (std::size_t s = 0; s < form.strokes.size(); ++s) {
    const Point shift = s == 0 ? Point{0, 0} : Point{draws.normal(2.0F), draws.normal(3.0F)};
    strokes.push_back(shaken(form.strokes[s], other.strokes[s], blend, shift, tremor, draws));
  }
  return strokes;
}

// Catmull-Rom between b and c
Point spline(const Point& a, const Point& b, const Point& c, const Point& d, float t) {
  const auto blend = [t](float p, float q, float r, float s) {
    return 0.5F * (2 * q + t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p))));
  };
  return {blend(a.x, b.x, c.x, d.x), blend(a.y, b.y, c.y, d.y)};
}

// The pen's way along one stroke.
void trace(const Stroke& stroke, Draws& draws, std::vector<Dab>& dabs) {
  const float swing = 0.16F;
  float pressure = 1.0F + draws.normal(swing);
  bool pen_down = false;
  for (std::size_t p = 0; p + 1 < stroke.size(); ++p) {
    const Point &b = stroke[p], &c = stroke[p + 1];
    if (equal(b, c)) continue;
    const float next_pressure = 1.0F + draws.normal(swing);
    // At an end or a corner the curve runs on as if mirrored.
    const bool starts = p == 0 || equal(stroke[p - 1], b);
    const bool ends = p + 2 >= stroke.size() || equal(stroke[p + 2], c);
    const Point a = starts ? Point{2 * b.x - c.x, 2 * b.y - c.y} : stroke[p - 1];
    const Point d = ends ? Point{2 * c.x - b.x, 2 * c.y - b.y} : stroke[p + 2];
    for (int sample = pen_down ? 1 : 0; sample <= kSamplesPerSpan; ++sample) {
      const float t = static_cast<float>(sample) / kSamplesPerSpan;
      const Point at = spline(a, b, c, d, t);
      dabs.push_back({at.x, at.y, std::max(0.4F, pressure + t * (next_pressure - pressure)), pen_down});
      pen_down = true;
    }
    pressure = next_pressure;
  }
}

// A smooth bend of the paper: displacements at a coarse grid, interpolated.
class Warp {
 public:
  Warp(float strength, Draws& draws) {
    for (auto& node : nodes_) node = {draws.normal(strength), draws.normal(strength)};
  }

  Point at(float x, float y) const {
    const Place h = place(x), v = place(y);
    const auto node = [&](int row, int column) -> const Point& {
      return nodes_[static_cast<std::size_t>((v.cell + row) * kWarpNodes + h.cell + column)];
    };
    const auto mix = [](const Point& a, const Point& b, float t) {
      return Point{a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)};
    };
    return mix(mix(node(0, 0), node(0, 1), h.rest), mix(node(1, 0), node(1, 1), h.rest), v.rest);
  }

 private:
  struct Place {
    int cell;
    float rest;
  };
  static Place place(float coordinate) {
    const float scaled = std::clamp(coordinate * 0.01F, 0.0F, 0.999F) * (kWarpNodes - 1);
    const int cell = static_cast<int>(scaled);
    const float rest = scaled - static_cast<float>(cell);
    return {cell, rest * rest * (3 - 2 * rest)};
  }

  std::array<Point, kWarpNodes * kWarpNodes> nodes_;
};

// The writer's proportions, slant and turn, and the bend of the paper.
void deform(std::vector<Dab>& dabs, Draws& draws) {
  const Warp warp(draws.uniform(1.0F, 5.0F), draws);
  const float wide = std::clamp(0.97F + draws.normal(0.22F), 0.6F, 1.5F);
  const float width = draws.chance(0.5F) ? wide : 1.0F / wide;
  // Above 0 the upper (left) half is the larger one.
  const float balance_x = std::clamp(draws.normal(0.12F), -0.3F, 0.3F);
  const float balance_y = std::clamp(draws.normal(0.16F), -0.35F, 0.35F);
  const float slant = std::clamp(0.16F + draws.normal(0.26F), -0.35F, 0.8F);
  const float half = draws.normal(0.055F);  // tangent of half the angle: a rotation without sine and cosine
  const float scale = 1.0F / (1.0F + half * half);
  const float cosine = (1.0F - half * half) * scale, sine = 2.0F * half * scale;
  for (Dab& dab : dabs) {
    const Point shift = warp.at(dab.x, dab.y);
    const float u = (dab.x + shift.x - 50.0F) * 0.02F,
                v = (dab.y + shift.y - 50.0F) * 0.02F;  // about -1 to 1
    const float y = 50.0F * (v + balance_y * (1 - v * v));
    const float x = 50.0F * (u + balance_x * (1 - u * u)) * width - slant * y;
    dab.x = cosine * x - sine * y;
    dab.y = sine * x + cosine * y;
  }
}

struct Extent {
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
  void take(float a, float b) {
    low = std::min(low, a);
    high = std::max(high, b);
  }
  float size() const { return high - low; }
};

// Scales to MNIST's box and shifts the centre of the ink's mass to the middle, by whole pixels as MNIST does.
void fit(std::vector<Dab>& dabs, float radius, float box) {
  Extent h, v;
  for (const Dab& dab : dabs) {
    h.take(dab.x, dab.x);
    v.take(dab.y, dab.y);
  }
  const float scale = (box - 2 * radius) / std::max({h.size(), v.size(), 1.0F});
  float mass = 0, sum_x = 0, sum_y = 0;
  for (std::size_t i = 0; i < dabs.size(); ++i) {
    Dab& dab = dabs[i];
    dab = {(dab.x - h.low) * scale + radius, (dab.y - v.low) * scale + radius, dab.radius * radius, dab.pen_down};
    if (!dab.pen_down) continue;
    const float dx = dab.x - dabs[i - 1].x, dy = dab.y - dabs[i - 1].y;
    const float ink = std::sqrt(dx * dx + dy * dy) * dab.radius;
    mass += ink;
    sum_x += ink * (dab.x - dx / 2);
    sum_y += ink * (dab.y - dy / 2);
  }
  const auto offset = [&](float sum, const Extent& extent) {
    const float centred = std::floor(kDigitSide / 2.0F - sum / mass + 0.5F);
    const float most = kDigitSide - extent.size() * scale - 2 * radius;
    return std::clamp(centred, 0.0F, std::max(0.0F, std::floor(most)));
  };
  const float left = offset(sum_x, h), top = offset(sum_y, v);
  for (Dab& dab : dabs) {
    dab.x += left;
    dab.y += top;
  }
}

using Canvas = std::array<float, kPixels>;  // f32 [28, 28], coverage 0 to 1

int pixel_floor(float x) { return std::clamp(static_cast<int>(std::floor(x)), 0, kDigitSide - 1); }

// The ink of one straight piece: full inside, falling over `soft` pixels at the edge. Squared distances need
// no root.
void draw_piece(const Dab& a, const Dab& b, float soft, Canvas& canvas) {
  const float radius = 0.5F * (a.radius + b.radius);
  const float outer = radius + 0.5F * soft, inner = std::max(0.0F, radius - 0.5F * soft);
  const float steepness = 1.0F / (outer * outer - inner * inner);
  const float dx = b.x - a.x, dy = b.y - a.y;
  const float inverse_length = 1.0F / (dx * dx + dy * dy + 1e-6F);
  const int left = pixel_floor(std::min(a.x, b.x) - outer), right = pixel_floor(std::max(a.x, b.x) + outer);
  const int top = pixel_floor(std::min(a.y, b.y) - outer), bottom = pixel_floor(std::max(a.y, b.y) + outer);
  for (int row = top; row <= bottom; ++row) {
    const float y = static_cast<float>(row) + 0.5F - a.y;
    float* pixels = canvas.data() + row * kDigitSide;
    for (int column = left; column <= right; ++column) {
      const float x = static_cast<float>(column) + 0.5F - a.x;
      const float along = std::clamp((x * dx + y * dy) * inverse_length, 0.0F, 1.0F);
      const float off_x = x - along * dx, off_y = y - along * dy;
      const float ink = (outer * outer - off_x * off_x - off_y * off_y) * steepness;
      pixels[column] = std::max(pixels[column], ink);
    }
  }
}

void draw(const std::vector<Dab>& dabs, Draws& draws, std::span<std::uint8_t> image) {
  const float soft = draws.uniform(0.9F, 1.5F);
  const float ink = draws.uniform(0.94F, 1.12F);
  const float grain = draws.uniform(0.0F, 0.25F);  // of the paper: ragged edges
  Canvas canvas{};
  std::fill(image.begin(), image.end(), std::uint8_t{0});
  for (std::size_t i = 0; i < dabs.size(); ++i) {
    if (dabs[i].pen_down) draw_piece(dabs[i - 1], dabs[i], soft, canvas);
  }
  for (std::size_t i = 0; i < image.size(); ++i) {
    if (canvas[i] <= 0) continue;
    const float value = canvas[i] * ink + draws.uniform(-grain, grain) * std::min(1.0F, canvas[i]);
    image[i] = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 1.0F) * 255.0F + 0.5F);
  }
}

std::int64_t draw_digit(std::span<std::uint8_t> image, std::uint64_t seed, std::uint64_t index,
                        std::vector<Dab>& dabs) {
  Draws draws(seed, index);
  const int digit = draws.below(10);
  dabs.clear();
  for (const Stroke& stroke : shaped(digit, draws)) trace(stroke, draws, dabs);
  deform(dabs, draws);
  const float nib = draws.chance(0.25F) ? 1.55F : 0.96F;
  const float radius = std::clamp(nib + draws.normal(0.35F), 0.5F, 3.0F);
  fit(dabs, radius, kBox);
  draw(dabs, draws, image);
  return digit;
}

void draw_range(std::span<std::uint8_t> images, std::span<std::int64_t> labels, std::uint64_t seed,
                std::uint64_t first) {
  std::vector<Dab> dabs;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = draw_digit(images.subspan(i * kPixels, kPixels), seed, first + i, dabs);
  }
}

}  // namespace

void draw_digits(std::span<std::uint8_t> images, std::span<std::int64_t> labels, const DigitsOptions& options) {
  if (images.size() / kPixels != labels.size() || images.size() % kPixels != 0) {
    throw std::invalid_argument(text("draw_digits: ", labels.size(), " labels need ", labels.size(),
                                     " images of 28x28 bytes, got ", images.size(), " bytes"));
  }
  if (options.threads < 0) {
    throw std::invalid_argument(text("draw_digits: threads must be 0 (all) or more, got ", options.threads));
  }
  const auto work = [&](std::size_t, std::size_t begin, std::size_t end) {
    draw_range(images.subspan(begin * kPixels, (end - begin) * kPixels), labels.subspan(begin, end - begin),
               options.seed, options.first_index + begin);
  };
  parallel_for(labels.size(), threads_for(labels.size(), options.threads), work);
}

}  // namespace mnistcnn::data
