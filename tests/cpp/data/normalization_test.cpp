#include "mnistcnn/data/normalization.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace mnistcnn::data {
namespace {

TEST(Normalization, ScaleAndShiftEqualTheDefinition) {
  for (const Normalization& pixels : {kMnist, kUnit}) {
    for (const double p : {0.0, 1.0, 127.0, 255.0})
      EXPECT_NEAR(p * pixels.scale() + pixels.shift(), (p / 255 - pixels.mean) / pixels.deviation, 1e-12);
  }
}

TEST(Normalization, ScalesEveryPixel) {
  const std::vector<std::uint8_t> pixels{0, 1, 200, 255};
  std::array<float, 4> scaled{};
  scale_pixels(pixels, 0.5F, -1.0F, scaled);
  EXPECT_EQ(scaled, (std::array<float, 4>{-1.0F, -0.5F, 99.0F, 126.5F}));
}

}  // namespace
}  // namespace mnistcnn::data
