#include "mnistcnn/train/mixing.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mnistcnn::train {
namespace {

TEST(Mixing, PartnersAreAPermutationAndShareIsInUnitInterval) {
  for (const auto kind : {Mixing::Kind::kMixup, Mixing::Kind::kCutMix})
    for (std::uint64_t step = 0; step < 50; ++step) {
      MixingPlan plan = draw({kind, 0.3}, 7, step, 9, 5, 4);
      EXPECT_GE(plan.share, 0);
      EXPECT_LE(plan.share, 1);
      std::sort(plan.partners.begin(), plan.partners.end());
      EXPECT_EQ(plan.partners, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
    }
}

TEST(Mixing, SupportsTinyAlpha) {
  for (std::uint64_t step = 0; step < 100; ++step) {
    const double share = draw({Mixing::Kind::kMixup, 1e-6}, 1, step, 2, 1, 1).share;
    EXPECT_TRUE(share < 1e-6 || share > 1 - 1e-6) << share;
  }
}

TEST(Mixing, BoxIsInsideTheImageAndShareIsItsArea) {
  for (std::uint64_t step = 0; step < 200; ++step) {
    const MixingPlan plan = draw({Mixing::Kind::kCutMix, 1}, 3, step, 2, 7, 10);
    EXPECT_TRUE(0 <= plan.box.top && plan.box.top <= plan.box.bottom && plan.box.bottom <= 7);
    EXPECT_TRUE(0 <= plan.box.left && plan.box.left <= plan.box.right && plan.box.right <= 10);
    const auto area = static_cast<double>((plan.box.bottom - plan.box.top) * (plan.box.right - plan.box.left));
    EXPECT_DOUBLE_EQ(plan.share, 1 - area / 70);
  }
}

TEST(Mixing, MixesPixels) {
  const std::vector<float> images{0, 1, 2, 3, 4, 5, 6, 7};  // [2, 1, 2, 2]
  std::vector<float> mixed(8);
  mix({Mixing::Kind::kMixup, 1}, {0.25, {1, 0}, {}}, 1, 2, 2, images, mixed);
  EXPECT_EQ(mixed, (std::vector<float>{3, 4, 5, 6, 1, 2, 3, 4}));
  mix({Mixing::Kind::kCutMix, 1}, {0.5, {1, 0}, {0, 1, 2, 2}}, 1, 2, 2, images, mixed);
  EXPECT_EQ(mixed, (std::vector<float>{0, 5, 2, 7, 4, 1, 6, 3}));
}

}  // namespace
}  // namespace mnistcnn::train
