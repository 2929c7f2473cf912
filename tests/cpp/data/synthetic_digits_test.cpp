#include "mnistcnn/data/synthetic_digits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <vector>

#include "mnistcnn/data/digit_skeletons.h"

namespace mnistcnn::data {
namespace {

constexpr std::size_t kPixels = kDigitSide * kDigitSide;

struct Digits {
  std::vector<std::uint8_t> images;  // u8 [N, 28, 28]
  std::vector<std::int64_t> labels;  // i64 [N]
};

Digits draw(std::size_t count, const DigitsOptions& options) {
  Digits digits{std::vector<std::uint8_t>(count * kPixels, 77), std::vector<std::int64_t>(count, -1)};
  draw_digits(digits.images, digits.labels, options);
  return digits;
}

TEST(SyntheticDigits, IsIdenticalForAnyNumberOfThreads) {
  const Digits one = draw(1000, {.seed = 5, .first_index = 10, .threads = 1});
  for (const int threads : {0, 2, 3, 7}) {
    const Digits many = draw(1000, {.seed = 5, .first_index = 10, .threads = threads});
    EXPECT_EQ(many.images, one.images) << threads;
    EXPECT_EQ(many.labels, one.labels) << threads;
  }
}

TEST(SyntheticDigits, ImageDependsOnlyOnItsIndex) {
  const Digits all = draw(100, {.seed = 1, .threads = 1});
  const Digits part = draw(10, {.seed = 1, .first_index = 90, .threads = 1});
  EXPECT_TRUE(std::equal(part.images.begin(), part.images.end(), all.images.begin() + 90 * kPixels));
  EXPECT_TRUE(std::equal(part.labels.begin(), part.labels.end(), all.labels.begin() + 90));
}

TEST(SyntheticDigits, SeedsDiffer) { EXPECT_NE(draw(10, {.seed = 1}).images, draw(10, {.seed = 2}).images); }

TEST(SyntheticDigits, ClassesAreBalanced) {
  const Digits digits = draw(20000, {.seed = 3});
  std::array<int, 10> counts{};
  for (const std::int64_t label : digits.labels) ++counts.at(static_cast<std::size_t>(label));
  for (const int count : counts) EXPECT_NEAR(count, 2000, 250);
}

TEST(SyntheticDigits, HasTheStatisticsOfMnist) {
  constexpr std::size_t kCount = 5000;
  const Digits digits = draw(kCount, {.seed = 4});
  double sum = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::uint8_t* image = digits.images.data() + i * kPixels;
    double ink = 0, x = 0, y = 0;
    for (std::size_t p = 0; p < kPixels; ++p) {
      ink += image[p];
      x += image[p] * (static_cast<double>(p % kDigitSide) + 0.5);
      y += image[p] * (static_cast<double>(p / kDigitSide) + 0.5);
    }
    ASSERT_GT(ink, 255.0 * 15) << "image " << i;
    ASSERT_LT(ink, 255.0 * 400) << "image " << i;
    // The centre of mass is near the centre of the image: it is rounded to whole pixels and limited by the image
    // border.
    ASSERT_NEAR(x / ink, 14, 2.5) << "image " << i;
    ASSERT_NEAR(y / ink, 14, 2.5) << "image " << i;
    ASSERT_GE(*std::max_element(image, image + kPixels), 128) << "image " << i;
    sum += ink;
  }
  EXPECT_NEAR(sum / (255.0 * kPixels * kCount), 0.1307, 0.03);  // mean of MNIST
}

TEST(SyntheticDigits, SupportsZeroImages) { EXPECT_NO_THROW(draw(0, {})); }

TEST(SyntheticDigits, ThrowsForInvalidArguments) {
  std::vector<std::uint8_t> images(kPixels + 1);
  std::vector<std::int64_t> labels(1);
  EXPECT_THROW(draw_digits(images, labels), std::invalid_argument);
  EXPECT_THROW(draw_digits(std::span(images).first(kPixels), labels, {.threads = -1}), std::invalid_argument);
}

TEST(DigitSkeletons, EveryDigitHasSeveralSkeletons) {
  std::array<int, 10> forms{};
  for (const Skeleton& skeleton : digit_skeletons()) {
    ++forms.at(static_cast<std::size_t>(skeleton.digit));
    EXPECT_GT(skeleton.weight, 0);
    ASSERT_FALSE(skeleton.strokes.empty());
    for (const Stroke& stroke : skeleton.strokes) {
      ASSERT_GE(stroke.size(), 2U);
      for (const Point& point : stroke) {
        EXPECT_TRUE(point.x >= -20 && point.x <= 130 && point.y >= -10 && point.y <= 110)
            << "digit " << skeleton.digit << " at " << point.x << ", " << point.y;
      }
    }
  }
  for (const int count : forms) EXPECT_GE(count, 5);
}

}  // namespace
}  // namespace mnistcnn::data
