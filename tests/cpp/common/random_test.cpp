#include "mnistcnn/common/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace mnistcnn::common {
namespace {

TEST(Stream, DependsOnlyOnKeyAndIndex) {
  const Stream stream(7, Purpose::kShuffle, 1, 2);
  const std::uint64_t third = stream.bits(3);
  EXPECT_NE(stream.bits(4), third);
  EXPECT_EQ(Stream(7, Purpose::kShuffle, 1, 2).bits(3), third);
}

TEST(Stream, KeyDependsOnAllArguments) {
  const std::set<std::uint64_t> keys{Stream(1, Purpose::kShuffle).key(), Stream(2, Purpose::kShuffle).key(),
                                     Stream(1, Purpose::kDropout).key(), Stream(1, Purpose::kShuffle, 1).key(),
                                     Stream(1, Purpose::kShuffle, 0, 1).key()};
  EXPECT_EQ(keys.size(), 5U);
}

TEST(Stream, FirstNumberIsUnchanged) {  // results must not change between versions
  EXPECT_EQ(Stream(0, Purpose::kInitialise).bits(0), 2657689914020437299ULL);
}

// Chi-square test with 64 cells: 63 degrees of freedom, mean 63, standard deviation 11.2; tolerance 5 standard
// deviations.
TEST(Stream, IsUniform) {
  constexpr int kCells = 64, kDraws = 64000;
  const Stream stream(3, Purpose::kAugment);
  std::vector<int> cells(kCells);
  for (std::uint64_t i = 0; i < kDraws; ++i) ++cells[static_cast<std::size_t>(stream.uniform(i) * kCells)];
  double chi_square = 0;
  for (const int count : cells) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_GT(chi_square, 63 - 5 * 11.2);
  EXPECT_LT(chi_square, 63 + 5 * 11.2);
}

TEST(Stream, BelowReturnsAllSmallerIntegers) {
  const Stream stream(4, Purpose::kShuffle);
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) seen.insert(stream.below(i, 7));
  EXPECT_EQ(seen.size(), 7U);
  EXPECT_EQ(*seen.rbegin(), 6U);
}

TEST(DropoutKey, KeepsTheExpectedFraction) {
  const DropoutKey key(Stream(5, Purpose::kDropout, 0, 3));
  constexpr double kProbability = 0.25;
  int kept = 0;
  for (std::uint32_t image = 0; image < 100; ++image)
    for (std::uint32_t element = 0; element < 1000; ++element) kept += key.keeps(image, element, kProbability) ? 1 : 0;
  EXPECT_NEAR(kept / 1e5, 0.75,
              5 * std::sqrt(0.25 * 0.75 / 1e5));  // five standard deviations of a binomial distribution
}

TEST(DropoutKey, Probability0KeepsAllAndProbability1KeepsNone) {
  const DropoutKey key(Stream(5, Purpose::kDropout));
  for (std::uint32_t element = 0; element < 5000; ++element) {
    EXPECT_TRUE(key.keeps(1, element, 0));
    EXPECT_FALSE(key.keeps(1, element, 1));
  }
}

}  // namespace
}  // namespace mnistcnn::common
