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
constexpr float kBox = 20.0F;       // MNIST digits fit into a box of 20 x 20 pixels
constexpr int kSamplesPerSpan = 6;  // line segments between two points of a stroke
constexpr int kWarpNodes = 4;       // the smooth warp interpolates a grid of 4 x 4 displacements

// Sequential access to the random numbers of one image.
class RandomSequence {
 public:
  RandomSequence(std::uint64_t seed, std::uint64_t image) : stream_(seed, common::Purpose::kDigits, image) {}

  int below(int count) { return static_cast<int>(stream_.below(next_++, static_cast<std::uint64_t>(count))); }
  float uniform() { return static_cast<float>(stream_.bits(next_++) >> 40) * 0x1.0p-24F; }  // [0, 1)
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  bool chance(float probability) { return uniform() < probability; }
  // Approximately normal, within 3.5 standard deviations: a sum of four uniform numbers. It uses no libm function, so
  // it is bit-identical on every platform.
  float normal(float deviation) {
    const std::uint64_t bits = stream_.bits(next_++);
    float sum = -2.0F + 2.0F / 65536.0F;
    for (int term = 0; term < 4; ++term) {
      sum += static_cast<float>((bits >> (16 * term)) & 0xffffU) * 0x1.0p-16F;
    }
    return sum * 1.7320508F * deviation;
  }

 private:
  common::Stream stream_;
  std::uint64_t next_ = 0;
};

// A sample of the pen's path, in skeleton units before fit_to_box and in pixels after it.
struct InkDisc {
  float x, y, radius;
  bool pen_down;  // connected to the previous sample
};

bool equal(const Point& a, const Point& b) { return a.x == b.x && a.y == b.y; }

// Whether point p is the second of the two equal points of a corner.
bool is_repeated_point(const Stroke& stroke, std::size_t p) { return p > 0 && equal(stroke[p - 1], stroke[p]); }

bool have_same_structure(const Stroke& a, const Stroke& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t p = 0; p < a.size(); ++p) {
    if (is_repeated_point(a, p) != is_repeated_point(b, p)) return false;
  }
  return true;
}

bool are_same_family(const Skeleton& a, const Skeleton& b) {
  return a.digit == b.digit &&
         std::equal(a.strokes.begin(), a.strokes.end(), b.strokes.begin(), b.strokes.end(), have_same_structure);
}

// Draw one of the skeletons that satisfy `accept`, with probability proportional to its weight.
template <class Accept>
const Skeleton& choose(std::span<const Skeleton> all, RandomSequence& random, Accept accept) {
  float total = 0;
  for (const Skeleton& skeleton : all) total += accept(skeleton) ? skeleton.weight : 0.0F;
  float fraction = random.uniform() * total;
  const Skeleton* last = nullptr;
  for (const Skeleton& skeleton : all) {
    if (!accept(skeleton)) continue;
    last = &skeleton;
    fraction -= skeleton.weight;
    if (fraction < 0) break;
  }
  return *last;
}

// Interpolate between two strokes and add random displacements. The displacements of neighbouring points are
// correlated, and larger at the ends of the stroke.
Stroke perturbed(const Stroke& form, const Stroke& other, float blend, Point shift, float jitter,
                 RandomSequence& random) {
  Stroke stroke = form;
  Point drift{random.normal(jitter), random.normal(jitter)};
  for (std::size_t p = 0; p < stroke.size(); ++p) {
    if (is_repeated_point(form, p)) {
      stroke[p] = stroke[p - 1];
      continue;
    }
    drift = {0.6F * drift.x + 0.8F * random.normal(jitter), 0.6F * drift.y + 0.8F * random.normal(jitter)};
    const float end_factor = p == 0 || p + 1 == stroke.size() ? 1.5F : 1.0F;
    stroke[p].x += blend * (other[p].x - form[p].x) + shift.x + end_factor * drift.x;
    stroke[p].y += blend * (other[p].y - form[p].y) + shift.y + end_factor * drift.y;
  }
  return stroke;
}

// Draw the strokes of a digit: an interpolation between two skeletons of a family, with random displacements.
std::vector<Stroke> random_strokes(int digit, RandomSequence& random) {
  const std::span<const Skeleton> all = digit_skeletons();
  const Skeleton& form = choose(all, random, [&](const Skeleton& s) { return s.digit == digit; });
  const Skeleton& other = choose(all, random, [&](const Skeleton& s) { return are_same_family(s, form); });
  const float blend = random.uniform();
  const float jitter = random.uniform(1.0F, 5.0F);
  std::vector<Stroke> strokes;
  for (std::size_t s = 0; s < form.strokes.size(); ++s) {
    const Point shift = s == 0 ? Point{0, 0} : Point{random.normal(2.0F), random.normal(3.0F)};
    strokes.push_back(perturbed(form.strokes[s], other.strokes[s], blend, shift, jitter, random));
  }
  return strokes;
}

// Catmull-Rom spline between b and c, 0 <= t <= 1
Point spline(const Point& a, const Point& b, const Point& c, const Point& d, float t) {
  const auto blend = [t](float p, float q, float r, float s) {
    return 0.5F * (2 * q + t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p))));
  };
  return {blend(a.x, b.x, c.x, d.x), blend(a.y, b.y, c.y, d.y)};
}

// Sample the curve of a stroke, with a varying radius of the pen, and append the samples to `discs`.
void sample_stroke(const Stroke& stroke, RandomSequence& random, std::vector<InkDisc>& discs) {
  const float pressure_deviation = 0.16F;
  float pressure = 1.0F + random.normal(pressure_deviation);
  bool pen_down = false;
  for (std::size_t p = 0; p + 1 < stroke.size(); ++p) {
    const Point &b = stroke[p], &c = stroke[p + 1];
    if (equal(b, c)) continue;
    const float next_pressure = 1.0F + random.normal(pressure_deviation);
    // At an end or a corner the missing control point is the mirrored one.
    const bool starts = p == 0 || equal(stroke[p - 1], b);
    const bool ends = p + 2 >= stroke.size() || equal(stroke[p + 2], c);
    const Point a = starts ? Point{2 * b.x - c.x, 2 * b.y - c.y} : stroke[p - 1];
    const Point d = ends ? Point{2 * c.x - b.x, 2 * c.y - b.y} : stroke[p + 2];
    for (int sample = pen_down ? 1 : 0; sample <= kSamplesPerSpan; ++sample) {
      const float t = static_cast<float>(sample) / kSamplesPerSpan;
      const Point at = spline(a, b, c, d, t);
      discs.push_back({at.x, at.y, std::max(0.4F, pressure + t * (next_pressure - pressure)), pen_down});
      pen_down = true;
    }
    pressure = next_pressure;
  }
}

// Smooth random displacement field: interpolation of random displacements on a coarse grid.
class SmoothWarp {
 public:
  SmoothWarp(float strength, RandomSequence& random) {
    for (auto& grid_node : nodes_) grid_node = {random.normal(strength), random.normal(strength)};
  }

  Point at(float x, float y) const {
    const GridPosition h = grid_position(x), v = grid_position(y);
    const auto grid_node = [&](int row, int column) -> const Point& {
      return nodes_[static_cast<std::size_t>((v.cell + row) * kWarpNodes + h.cell + column)];
    };
    const auto mix = [](const Point& a, const Point& b, float t) {
      return Point{a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)};
    };
    return mix(mix(grid_node(0, 0), grid_node(0, 1), h.fraction), mix(grid_node(1, 0), grid_node(1, 1), h.fraction),
               v.fraction);
  }

 private:
  struct GridPosition {
    int cell;
    float fraction;
  };
  static GridPosition grid_position(float coordinate) {
    const float scaled = std::clamp(coordinate * 0.01F, 0.0F, 0.999F) * (kWarpNodes - 1);
    const int cell = static_cast<int>(scaled);
    const float fraction = scaled - static_cast<float>(cell);
    return {cell, fraction * fraction * (3 - 2 * fraction)};
  }

  std::array<Point, kWarpNodes * kWarpNodes> nodes_;
};

// Apply a random warp, aspect ratio, balance, slant and rotation.
void deform(std::vector<InkDisc>& discs, RandomSequence& random) {
  const SmoothWarp warp(random.uniform(1.0F, 5.0F), random);
  const float stretch = std::clamp(0.97F + random.normal(0.22F), 0.6F, 1.5F);
  const float width = random.chance(0.5F) ? stretch : 1.0F / stretch;
  // Positive: the upper (left) half is larger.
  const float balance_x = std::clamp(random.normal(0.12F), -0.3F, 0.3F);
  const float balance_y = std::clamp(random.normal(0.16F), -0.35F, 0.35F);
  const float slant = std::clamp(0.16F + random.normal(0.26F), -0.35F, 0.8F);
  const float half = random.normal(0.055F);  // tangent of half the angle: gives sine and cosine without libm
  const float scale = 1.0F / (1.0F + half * half);
  const float cosine = (1.0F - half * half) * scale, sine = 2.0F * half * scale;
  for (InkDisc& disc : discs) {
    const Point shift = warp.at(disc.x, disc.y);
    const float u = (disc.x + shift.x - 50.0F) * 0.02F,
                v = (disc.y + shift.y - 50.0F) * 0.02F;  // about -1 to 1
    const float y = 50.0F * (v + balance_y * (1 - v * v));
    const float x = 50.0F * (u + balance_x * (1 - u * u)) * width - slant * y;
    disc.x = cosine * x - sine * y;
    disc.y = sine * x + cosine * y;
  }
}

struct Interval {
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
  void include(float a, float b) {
    low = std::min(low, a);
    high = std::max(high, b);
  }
  float size() const { return high - low; }
};

// Scale to the box and translate the centre of mass of the ink to the centre of the image, by whole pixels as in MNIST.
void fit_to_box(std::vector<InkDisc>& discs, float radius, float box) {
  Interval h, v;
  for (const InkDisc& disc : discs) {
    h.include(disc.x, disc.x);
    v.include(disc.y, disc.y);
  }
  const float scale = (box - 2 * radius) / std::max({h.size(), v.size(), 1.0F});
  float mass = 0, sum_x = 0, sum_y = 0;
  for (std::size_t i = 0; i < discs.size(); ++i) {
    InkDisc& disc = discs[i];
    disc = {(disc.x - h.low) * scale + radius, (disc.y - v.low) * scale + radius, disc.radius * radius, disc.pen_down};
    if (!disc.pen_down) continue;
    const float dx = disc.x - discs[i - 1].x, dy = disc.y - discs[i - 1].y;
    const float ink = std::sqrt(dx * dx + dy * dy) * disc.radius;
    mass += ink;
    sum_x += ink * (disc.x - dx / 2);
    sum_y += ink * (disc.y - dy / 2);
  }
  const auto offset = [&](float sum, const Interval& extent) {
    const float centred = std::floor(kDigitSide / 2.0F - sum / mass + 0.5F);
    const float max_offset = kDigitSide - extent.size() * scale - 2 * radius;
    return std::clamp(centred, 0.0F, std::max(0.0F, std::floor(max_offset)));
  };
  const float left = offset(sum_x, h), top = offset(sum_y, v);
  for (InkDisc& disc : discs) {
    disc.x += left;
    disc.y += top;
  }
}

using Canvas = std::array<float, kPixels>;  // f32 [28, 28], coverage 0 to 1

int pixel_floor(float x) { return std::clamp(static_cast<int>(std::floor(x)), 0, kDigitSide - 1); }

// Draw a line segment: full coverage inside, falling to 0 over edge_width pixels at its edge. Uses squared distances to
// avoid square roots.
void draw_segment(const InkDisc& a, const InkDisc& b, float edge_width, Canvas& canvas) {
  const float radius = 0.5F * (a.radius + b.radius);
  const float outer = radius + 0.5F * edge_width, inner = std::max(0.0F, radius - 0.5F * edge_width);
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

void draw(const std::vector<InkDisc>& discs, RandomSequence& random, std::span<std::uint8_t> image) {
  const float edge_width = random.uniform(0.9F, 1.5F);
  const float ink = random.uniform(0.94F, 1.12F);
  const float noise = random.uniform(0.0F, 0.25F);  // relative amplitude of the pixel noise
  Canvas canvas{};
  std::fill(image.begin(), image.end(), std::uint8_t{0});
  for (std::size_t i = 0; i < discs.size(); ++i) {
    if (discs[i].pen_down) draw_segment(discs[i - 1], discs[i], edge_width, canvas);
  }
  for (std::size_t i = 0; i < image.size(); ++i) {
    if (canvas[i] <= 0) continue;
    const float value = canvas[i] * ink + random.uniform(-noise, noise) * std::min(1.0F, canvas[i]);
    image[i] = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 1.0F) * 255.0F + 0.5F);
  }
}

std::int64_t draw_digit(std::span<std::uint8_t> image, std::uint64_t seed, std::uint64_t index,
                        std::vector<InkDisc>& discs) {
  RandomSequence random(seed, index);
  const int digit = random.below(10);
  discs.clear();
  for (const Stroke& stroke : random_strokes(digit, random)) sample_stroke(stroke, random, discs);
  deform(discs, random);
  const float mean_radius = random.chance(0.25F) ? 1.55F : 0.96F;
  const float radius = std::clamp(mean_radius + random.normal(0.35F), 0.5F, 3.0F);
  fit_to_box(discs, radius, kBox);
  draw(discs, random, image);
  return digit;
}

void draw_range(std::span<std::uint8_t> images, std::span<std::int64_t> labels, std::uint64_t seed,
                std::uint64_t first) {
  std::vector<InkDisc> discs;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = draw_digit(images.subspan(i * kPixels, kPixels), seed, first + i, discs);
  }
}

}  // namespace

void draw_digits(std::span<std::uint8_t> images, std::span<std::int64_t> labels, const DigitsOptions& options) {
  if (images.size() / kPixels != labels.size() || images.size() % kPixels != 0) {
    throw std::invalid_argument(text("draw_digits: ", labels.size(), " labels require ", labels.size(),
                                     " images of 28x28 bytes, got ", images.size(), " bytes"));
  }
  if (options.threads < 0) {
    throw std::invalid_argument(
        text("draw_digits: threads must be at least 0, got ", options.threads, "; 0 uses all cores"));
  }
  const auto work = [&](std::size_t, std::size_t begin, std::size_t end) {
    draw_range(images.subspan(begin * kPixels, (end - begin) * kPixels), labels.subspan(begin, end - begin),
               options.seed, options.first_index + begin);
  };
  parallel_for(labels.size(), threads_for(labels.size(), options.threads), work);
}

}  // namespace mnistcnn::data
