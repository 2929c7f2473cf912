#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "mnistcnn/data/augmentation/augment.h"
#include "mnistcnn/data/augmentation/fields.h"
#include "mnistcnn/data/augmentation/pixel_ops.h"

namespace mnistcnn::data::augmentation {
namespace {

using Pixels = std::vector<std::uint8_t>;

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  double number(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine_); }
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  Pixels image(const Size& size) {
    Pixels pixels(static_cast<std::size_t>(size.bytes()));
    for (auto& each : pixels) each = static_cast<std::uint8_t>(integer(0, 255));
    return pixels;
  }
  Size size(std::int64_t largest = 20) { return {integer(1, 3), integer(1, largest), integer(1, largest)}; }

 private:
  std::mt19937 engine_;
};

int pixel(const Pixels& image, const Size& size, std::int64_t c, std::int64_t y, std::int64_t x) {
  return image[static_cast<std::size_t>((c * size.height + y) * size.width + x)];
}

int pixel_or(const Pixels& image, const Size& size, std::int64_t c, std::int64_t y, std::int64_t x, int outside) {
  const bool inside = y >= 0 && y < size.height && x >= 0 && x < size.width;
  return inside ? pixel(image, size, c, y, x) : outside;
}

Pixels apply(const Step& step, const Numbers& numbers, const Size& size, const Pixels& image) {
  return AugmentationPlan({step}, size).apply_first(numbers, image.data()).pixels;
}

Pixels run(const AugmentationPlan& plan, const Pixels& image, const SampleKey& key) {
  Pixels out(static_cast<std::size_t>(plan.output().bytes()));
  std::vector<std::byte> scratch(plan.scratch_bytes());
  plan.run(key, image.data(), out.data(), scratch.data());
  return out;
}

std::string error_message(std::vector<Step> steps, const Size& size) {
  try {
    return "none: " + std::to_string(AugmentationPlan(std::move(steps), size).output().height);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

// ---- transforms against slow reference implementations; tests/python compares with Pillow

TEST(Warp, NearestUsesFixedPointCoordinates) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const Size size = random.size();
    const Pixels image = random.image(size);
    Matrix m;
    for (double& each : m) each = random.number(-2, 2);
    m[2] *= 10, m[5] *= 10;
    Pixels out(image.size());
    warp({image.data(), size}, m, {Interpolation::kNearest, 9}, {size.height, size.width}, out.data());
    const auto fixed = [](double value) { return static_cast<std::int64_t>(std::floor(value * 65536 + 0.5)); };
    const auto shift = [](std::int64_t value) { return value >> 16; };
    for (std::int64_t c = 0; c < size.channels; ++c)
      for (std::int64_t y = 0; y < size.height; ++y)
        for (std::int64_t x = 0; x < size.width; ++x) {
          const std::int64_t from_x = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5) + x * fixed(m[0]) + y * fixed(m[1]);
          const std::int64_t from_y = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5) + x * fixed(m[3]) + y * fixed(m[4]);
          ASSERT_EQ(pixel(out, size, c, y, x), pixel_or(image, size, c, shift(from_y), shift(from_x), 9))
              << "round " << round;
        }
  }
}

TEST(Warp, BilinearIsAWeightedMeanOfFourPixels) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    const Size size = random.size();
    const Pixels image = random.image(size);
    const std::vector<float> dx(static_cast<std::size_t>(size.plane()), static_cast<float>(random.number(-6, 6)));
    const std::vector<float> dy(dx.size(), static_cast<float>(random.number(-6, 6)));
    Pixels out(image.size());
    warp({image.data(), size}, dx.data(), dy.data(), {Interpolation::kBilinear, 9}, out.data());
    for (std::int64_t c = 0; c < size.channels; ++c)
      for (std::int64_t y = 0; y < size.height; ++y)
        for (std::int64_t x = 0; x < size.width; ++x) {
          const double at_x = static_cast<double>(x) + dx[0], at_y = static_cast<double>(y) + dy[0];
          double expected = 0;
          for (std::int64_t v = 0; v < size.height; ++v)
            for (std::int64_t u = 0; u < size.width; ++u) {
              const auto weight = [](double coordinate, std::int64_t of, std::int64_t count) {
                const double inside = std::clamp(coordinate, 0.0, static_cast<double>(count - 1));
                return std::max(0.0, 1 - std::fabs(inside - static_cast<double>(of)));
              };
              expected += weight(at_x, u, size.width) * weight(at_y, v, size.height) * pixel(image, size, c, v, u);
            }
          const bool inside = at_x >= -0.5 && at_y >= -0.5 && at_x < static_cast<double>(size.width) - 0.5 &&
                              at_y < static_cast<double>(size.height) - 0.5;
          if (inside)
            ASSERT_NEAR(pixel(out, size, c, y, x) + 0.5, expected, 0.5001) << "round " << round;
          else
            ASSERT_EQ(pixel(out, size, c, y, x), 9) << "round " << round;
        }
  }
}

TEST(Warp, InvalidCoefficientsGiveFill) {
  const Size size{1, 5, 4};
  Random random(3);
  const Pixels image = random.image(size);
  const double huge = 1e300, not_a_number = std::numeric_limits<double>::quiet_NaN();
  for (const auto interpolation : {Interpolation::kNearest, Interpolation::kBilinear})
    for (const double invalid : {huge, -huge, not_a_number, std::numeric_limits<double>::infinity()}) {
      Pixels out(image.size());
      warp({image.data(), size}, Matrix{invalid, 1, 0, 1, invalid, 0}, {interpolation, 7}, {5, 4}, out.data());
      EXPECT_EQ(out, Pixels(image.size(), 7));
      warp({image.data(), size}, Homography{1, 0, 0, 0, 1, 0, invalid, 0}, {interpolation, 7}, out.data());
    }
}

TEST(Geometry, QuarterTurnsPermutePixels) {
  const Size size{1, 2, 3};
  const Pixels image{1, 2, 3, 4, 5, 6};
  Rotation step;
  step.expand = true;
  EXPECT_EQ(apply(step, {0}, size, image), image);
  EXPECT_EQ(apply(step, {90}, size, image), (Pixels{3, 6, 2, 5, 1, 4}));
  EXPECT_EQ(apply(step, {-180}, size, image), (Pixels{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(apply(step, {630}, size, image), (Pixels{4, 1, 5, 2, 6, 3}));
}

TEST(Geometry, HomographyMapsCornersToCorners) {
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    const std::array<Point, 4> starts{Point{0, 0}, {27, 0}, {27, 27}, {0, 27}};
    std::array<Point, 4> ends = starts;
    for (Point& each : ends) each = {each.x + random.number(-9, 9), each.y + random.number(-9, 9)};
    const auto h = homography(starts, ends);
    ASSERT_TRUE(h);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto& [x, y] = ends[i];
      const double w = (*h)[6] * x + (*h)[7] * y + 1;
      EXPECT_NEAR(((*h)[0] * x + (*h)[1] * y + (*h)[2]) / w, starts[i].x, 1e-3);
      EXPECT_NEAR(((*h)[3] * x + (*h)[4] * y + (*h)[5]) / w, starts[i].y, 1e-3);
    }
  }
  EXPECT_FALSE(homography({Point{0, 0}, {0, 0}, {0, 0}, {0, 0}}, {Point{0, 0}, {0, 0}, {0, 0}, {0, 0}}));
}

TEST(Resize, IsATriangleFilter) {
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const Size size = random.size();
    const Pixels image = random.image(size);
    const PlaneSize to{random.integer(1, 25), random.integer(1, 25)};
    const Pixels out = apply(augmentation::Resize{to}, {}, size, image);
    const auto weight = [](std::int64_t i, std::int64_t from, std::int64_t into, std::int64_t of) {
      const double scale = static_cast<double>(from) / static_cast<double>(into), support = std::max(scale, 1.0);
      const auto triangle = [&](std::int64_t at) {
        const double middle = (static_cast<double>(i) + 0.5) * scale;
        return std::max(0.0, 1 - std::fabs(static_cast<double>(at) + 0.5 - middle) / support);
      };
      double sum = 0;
      for (std::int64_t at = 0; at < from; ++at) sum += triangle(at);
      return triangle(of) / sum;
    };
    for (std::int64_t y = 0; y < to.height; ++y)
      for (std::int64_t x = 0; x < to.width; ++x) {
        double expected = 0;
        for (std::int64_t v = 0; v < size.height; ++v)
          for (std::int64_t u = 0; u < size.width; ++u)
            expected +=
                weight(y, size.height, to.height, v) * weight(x, size.width, to.width, u) * pixel(image, size, 0, v, u);
        ASSERT_NEAR(pixel(out, {1, to.height, to.width}, 0, y, x), expected, 1.01) << "round " << round;
      }
  }
}

TEST(Resize, OneSizeSetsTheShorterSide) {
  EXPECT_EQ(AugmentationPlan({augmentation::Resize{{14, 0}}}, {1, 28, 56}).output(), (Size{1, 14, 28}));
  EXPECT_EQ(AugmentationPlan({augmentation::Resize{{14, 0}}}, {3, 57, 28}).output(), (Size{3, 28, 14}));
}

TEST(Crop, CopiesAWindowOfThePaddedImage) {
  Random random(6);
  for (int round = 0; round < 300; ++round) {
    const Size size = random.size();
    const Pixels image = random.image(size);
    RandomCrop step;
    step.padding = {random.integer(0, 30), random.integer(0, 30), random.integer(0, 4), random.integer(0, 4)};
    step.size = {random.integer(1, size.height + step.padding.top + step.padding.bottom),
                 random.integer(1, size.width + step.padding.left + step.padding.right)};
    step.fill = 77;
    const std::int64_t top = random.integer(0, size.height + step.padding.top + step.padding.bottom - step.size.height);
    const std::int64_t left = random.integer(0, size.width + step.padding.left + step.padding.right - step.size.width);
    const Pixels out = apply(step, {static_cast<double>(top), static_cast<double>(left)}, size, image);
    const Size cut{size.channels, step.size.height, step.size.width};
    for (std::int64_t c = 0; c < size.channels; ++c)
      for (std::int64_t y = 0; y < cut.height; ++y)
        for (std::int64_t x = 0; x < cut.width; ++x)
          ASSERT_EQ(pixel(out, cut, c, y, x),
                    pixel_or(image, size, c, y + top - step.padding.top, x + left - step.padding.left, 77));
  }
}

TEST(Thickness, IsTheMaximumOrMinimumWithinAnOctagon) {
  Random random(7);
  for (int round = 0; round < 100; ++round) {
    const Size size = random.size(14);
    const Pixels image = random.image(size);
    const int distance = static_cast<int>(random.integer(0, 4));
    const int sign = random.integer(0, 1) == 0 ? 1 : -1;
    const Pixels out = apply(MorphologicalThickness{}, {static_cast<double>(sign * distance)}, size, image);
    const int squares = distance / 2;  // number of square elements; the others are plus-shaped
    for (std::int64_t c = 0; c < size.channels; ++c)
      for (std::int64_t y = 0; y < size.height; ++y)
        for (std::int64_t x = 0; x < size.width; ++x) {
          int best = pixel(image, size, c, y, x);
          for (std::int64_t v = 0; v < size.height; ++v)
            for (std::int64_t u = 0; u < size.width; ++u) {
              const std::int64_t a = std::abs(v - y), b = std::abs(u - x);
              if (std::max(a, b) > distance || a + b > distance + squares) continue;
              const int other = pixel(image, size, c, v, u);
              best = sign > 0 ? std::max(best, other) : std::min(best, other);
            }
          ASSERT_EQ(pixel(out, size, c, y, x), best) << "round " << round << ", distance " << sign * distance;
        }
  }
}

TEST(Thickness, FractionalAmountsAreInterpolated) {
  const Size size{1, 5, 5};
  Pixels image(25, 0);
  image[12] = 200;
  const Pixels out = apply(MorphologicalThickness{}, {0.5}, size, image);
  EXPECT_EQ(out[12], 200);
  EXPECT_EQ(out[11], 100);
  EXPECT_EQ(out[6], 0);
}

TEST(Elastic, DisplacementsAreBlurredNoise) {
  for (const double sigma : {0.4, 1.5, 4.0}) {
    const PlaneSize plane_size{9, 7};
    const std::vector<float> half = half_gaussian(sigma);
    const auto radius = static_cast<std::int64_t>(half.size()) - 1;
    const common::Stream stream(3, common::Purpose::kAugment, 1, 2);
    std::vector<float> dx(63), dy(63), scratch(DisplacementField::scratch_floats(half.size(), plane_size));
    DisplacementField{half, 20}.draw(stream, plane_size, dx.data(), dy.data(), scratch.data());
    const auto noise = [&](std::int64_t y, std::int64_t x, int axis) {
      const std::uint64_t bits = stream.bits(static_cast<std::uint64_t>(y * (plane_size.width + 2 * radius) + x));
      return static_cast<double>(static_cast<std::int32_t>(axis == 0 ? bits : bits >> 32)) * 0x1p-31;
    };
    double total = 0;
    for (std::int64_t t = -radius; t <= radius; ++t) total += half[static_cast<std::size_t>(std::abs(t))];
    EXPECT_NEAR(total, 1, 1e-6);
    for (std::int64_t y = 0; y < plane_size.height; ++y)
      for (std::int64_t x = 0; x < plane_size.width; ++x) {
        double expected[2] = {0, 0};
        for (std::int64_t v = -radius; v <= radius; ++v)
          for (std::int64_t u = -radius; u <= radius; ++u)
            for (int axis = 0; axis < 2; ++axis)
              expected[axis] += 20 * static_cast<double>(half[static_cast<std::size_t>(std::abs(v))]) *
                                static_cast<double>(half[static_cast<std::size_t>(std::abs(u))]) *
                                noise(y + v + radius, x + u + radius, axis);
        EXPECT_NEAR(dx[static_cast<std::size_t>(y * 7 + x)], expected[0], 1e-5);
        EXPECT_NEAR(dy[static_cast<std::size_t>(y * 7 + x)], expected[1], 1e-5);
      }
  }
}

TEST(Noise, IsNormal) {
  const Pixels grey(200000, 128);
  Pixels out(grey.size());
  add_noise(common::Stream(1, common::Purpose::kAugment), 0.1, static_cast<std::int64_t>(grey.size()), grey.data(),
            out.data());
  double sum = 0, squares = 0, fourth = 0;
  for (const std::uint8_t each : out) {
    const double z = (each - 128) / 25.5;
    sum += z, squares += z * z, fourth += z * z * z * z;
  }
  const double count = static_cast<double>(out.size());
  EXPECT_NEAR(sum / count, 0, 0.01);
  EXPECT_NEAR(squares / count, 1, 0.02);
  EXPECT_NEAR(fourth / count, 3, 0.12);
}

// ---- augmentation plans

std::vector<Step> one_step_of_each_kind() {
  Rotation rotation;
  rotation.degrees = {-20, 20};
  Affine affine;
  affine.degrees = {-5, 5};
  affine.translate = {0.1, 0.1};
  RandomCrop crop;
  crop.size = {28, 28};
  crop.padding = {2, 2, 2, 2};
  RandomErasing erasing;
  erasing.value = -1;
  MorphologicalThickness thickness;
  thickness.amount = {-1, 1};
  return {rotation,
          affine,
          RandomApply{3, 0.5},
          Perspective{},
          GaussianNoise{},
          thickness,
          crop,
          erasing,
          Cutout{5},
          ColorJitter{{0.5, 1.5}, {0.5, 1.5}},
          ElasticDistortion{}};
}

TEST(AugmentationPlan, ImageDependsOnlyOnItsKey) {
  Random random(8);
  const Size size{1, 28, 28};
  const AugmentationPlan plan(one_step_of_each_kind(), size);
  const Pixels images = random.image({300, 28, 28});
  std::vector<std::int64_t> forwards(300), backwards;
  for (std::size_t i = 0; i < 300; ++i) forwards[i] = static_cast<std::int64_t>(i);
  backwards.assign(forwards.rbegin(), forwards.rend());
  Pixels one(images.size()), reversed(images.size()), other(images.size());
  augment(plan, images.data(), forwards, {.seed = 5, .epoch = 2, .threads = 1}, one.data());
  for (const int threads : {2, 3}) {
    augment(plan, images.data(), backwards, {.seed = 5, .epoch = 2, .threads = threads}, reversed.data());
    for (std::size_t i = 0; i < 300; ++i)
      ASSERT_TRUE(std::equal(&one[i * 784], &one[i * 784] + 784, &reversed[(299 - i) * 784])) << "image " << i;
  }
  augment(plan, images.data(), forwards, {.seed = 5, .epoch = 3}, other.data());
  EXPECT_NE(one, other);
  augment(plan, images.data(), forwards, {.seed = 6, .epoch = 2}, other.data());
  EXPECT_NE(one, other);
}

TEST(AugmentationPlan, DrawnParametersAreThoseOfRun) {
  Random random(9);
  const Size size{2, 21, 17};
  const Pixels image = random.image(size);
  Rotation rotation;
  rotation.degrees = {-90, 90};
  rotation.p = 0.5;
  const AugmentationPlan plan({rotation}, size);
  int done = 0;
  for (std::int64_t index = 0; index < 400; ++index) {
    const std::vector<DrawnStep> drawn = plan.draw_all({1, 0, index});
    done += drawn[0].applied;
    EXPECT_EQ(run(plan, image, {1, 0, index}),
              drawn[0].applied ? apply(rotation, drawn[0].numbers, size, image) : image);
  }
  EXPECT_NEAR(done, 200, 50);
}

TEST(AugmentationPlan, RandomApplyAppliesAllStepsOrNone) {
  const AugmentationPlan plan({RandomApply{3, 0.5}, Cutout{1}, RandomApply{1, 1.0}, Cutout{1}, Cutout{1}}, {1, 8, 8});
  int done = 0;
  for (std::int64_t index = 0; index < 400; ++index) {
    const std::vector<DrawnStep> drawn = plan.draw_all({1, 0, index});
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(drawn[i].applied, drawn[0].applied);
    EXPECT_TRUE(drawn[4].applied);
    done += drawn[0].applied;
  }
  EXPECT_NEAR(done, 200, 50);
}

TEST(AugmentationPlan, AnglesAreUniform) {
  Rotation rotation;
  rotation.degrees = {-10, 30};
  const AugmentationPlan plan({rotation}, {1, 4, 4});
  double sum = 0, smallest = 99, largest = -99;
  for (std::int64_t index = 0; index < 4000; ++index) {
    const double angle = plan.draw_all({7, 1, index})[0].numbers[0];
    sum += angle, smallest = std::min(smallest, angle), largest = std::max(largest, angle);
  }
  EXPECT_NEAR(sum / 4000, 10, 0.8);
  EXPECT_TRUE(smallest >= -10 && smallest < -9.8);
  EXPECT_TRUE(largest <= 30 && largest > 29.8);
}

TEST(AugmentationPlan, ThrowsForInvalidSteps) {
  const Size size{1, 28, 28};
  Rotation expanding;
  expanding.expand = true;
  RandomCrop crop;
  crop.size = {31, 28};
  crop.padding = {0, 1, 0, 1};
  EXPECT_NE(error_message({CenterCrop{{30, 20}}}, size).find("(30, 20)) is larger than the image, 28 x 28"),
            std::string::npos);
  EXPECT_NE(error_message({crop}, size).find("larger than the image, 30 x 28"), std::string::npos);
  EXPECT_NE(error_message({expanding}, size).find("different sizes, from 28 x 28"), std::string::npos);
  EXPECT_NE(error_message({CenterCrop{{20, 20}, 0.5}}, size).find("different sizes, from 20 x 20 to 28 x 28"),
            std::string::npos);
  EXPECT_NE(error_message({expanding, augmentation::Resize{{28, 0}}}, size).find("both sides"), std::string::npos);
  EXPECT_NE(error_message({augmentation::Resize{{4096, 0}}}, {1, 1, 4096}).find("8192"), std::string::npos);
  EXPECT_NE(error_message({RandomApply{1, 0.5}, CenterCrop{{20, 20}}}, size).find("different sizes"),
            std::string::npos);
  EXPECT_EQ(error_message({expanding, CenterCrop{{28, 28}}}, size), "none: 28");
}

TEST(AugmentationPlan, ThrowsForInvalidSizesOfImages) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  for (const Size& size : {Size{1, 0, 28}, Size{1, 28, 0}, Size{0, 28, 28}, Size{1, -1, 28}, Size{1, kHuge, kHuge},
                           Size{kHuge, 28, 28}, Size{1, kHuge, 1}}) {
    const std::string sizes =
        std::to_string(size.channels) + ", " + std::to_string(size.height) + ", " + std::to_string(size.width);
    for (const std::vector<Step>& steps : {std::vector<Step>{}, std::vector<Step>{augmentation::Resize{{14, 0}}}})
      EXPECT_NE(error_message(steps, size).find("got [" + sizes + "]"), std::string::npos) << sizes;
  }
  // Steps limit the side of the images that they produce, but not of the input.
  EXPECT_EQ(error_message({}, {1, 1, 20000}), "none: 1");
  EXPECT_EQ(error_message({CenterCrop{{28, 28}}}, {1, 28, 20000}), "none: 28");
}

Step random_step(Random& random) {
  const auto fill = static_cast<std::uint8_t>(random.integer(0, 255));
  const auto interpolation = random.integer(0, 1) == 0 ? Interpolation::kNearest : Interpolation::kBilinear;
  const double p = random.integer(0, 2) == 0 ? random.number(0, 1) : 1;
  const double low = random.number(-400, 400);
  const Range range{low, low + random.number(0, 90)};
  const PlaneSize plane_size{random.integer(1, 40), random.integer(1, 40)};
  switch (random.integer(0, 12)) {
    case 0:
      return Rotation{range, fill, interpolation, random.integer(0, 1) == 0, {}, p};
    case 1:
      return Rotation{range, fill, interpolation, false, Point{random.number(-9, 9), random.number(-9, 9)}, p};
    case 2:
      return Affine{range, {random.number(0, 1), 0.3}, {1e-3, 5}, {-80, 80, -80, 80}, fill, interpolation, {}, p};
    case 3:
      return Perspective{random.number(0, 1), p, interpolation, fill};
    case 4:
      return ElasticDistortion{random.number(0, 999), random.number(0.1, 5), fill, interpolation, p};
    case 5:
      return CenterCrop{plane_size, p};
    case 6:
      return RandomCrop{plane_size, {random.integer(0, 9), random.integer(0, 9), random.integer(0, 9), 40}, fill, p};
    case 7:
      return augmentation::Resize{plane_size, interpolation, p};
    case 8:
      return RandomErasing{p, {0, 1}, {0.01, 100}, random.integer(-1, 255)};
    case 9:
      return Cutout{random.integer(1, 50), fill, p};
    case 10:
      return ColorJitter{{0, 3}, {0, 3}, p};
    case 11:
      return GaussianNoise{random.number(0, 2), p};
    default:
      return MorphologicalThickness{{-3, 3}, p};
  }
}

// Buffers have exactly the required size, so that sanitizers detect out-of-bounds accesses.
TEST(AugmentationPlan, RandomPipelinesNeverFail) {
  Random random(10);
  int ran = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::vector<Size> sizes{{1, 1, 1}, {1, 2, 3}, {3, 28, 28}, {1, 28, 28}, {1, 64, 64}, random.size(40)};
    const Size& size = sizes[static_cast<std::size_t>(random.integer(0, 5))];
    std::vector<Step> steps;
    for (std::int64_t count = random.integer(0, 5); count > 0; --count) steps.push_back(random_step(random));
    if (!steps.empty() && random.integer(0, 3) == 0) {
      const auto at = random.integer(0, static_cast<std::int64_t>(steps.size()) - 1);
      const std::int64_t rest = static_cast<std::int64_t>(steps.size()) - at;
      steps.insert(steps.begin() + at, RandomApply{random.integer(0, rest), 0.5});
    }
    if (random.integer(0, 1) == 0)
      steps.push_back(augmentation::Resize{{random.integer(1, 30), random.integer(1, 30)}});
    try {
      const AugmentationPlan plan(steps, size);
      const Size out = plan.output();
      const Pixels image = random.image(size);
      for (std::int64_t index = 0; index < 4; ++index) {
        EXPECT_EQ(run(plan, image, {3, 4, index}).size(), static_cast<std::size_t>(out.bytes()));
        EXPECT_EQ(plan.draw_all({3, 4, index}).size(), steps.size());
      }
      ++ran;
    } catch (const std::invalid_argument&) {
      continue;  // crop larger than the image, or outputs of different sizes
    }
  }
  EXPECT_GT(ran, 1000);
}

}  // namespace
}  // namespace mnistcnn::data::augmentation
