#include "mnistcnn/engine/lanes/ways.h"

#include <gtest/gtest.h>

namespace mnistcnn::engine::lanes::testing {
namespace {

// As many outputs as inputs, zeros around the map.
WinogradShape square(std::int64_t channels, std::int64_t size) {
  return {{channels, size, size}, {channels, size, size}, 1, 1};
}

TEST(Ways, GradientsOfManyChannelsGoByWinogradOnLargeMapsOnly) {
  for (const auto way : {way_of_input_gradient, way_of_weight_gradient}) {
    EXPECT_EQ(way(square(16, 28)), Way::kWinograd);
    EXPECT_EQ(way(square(128, 12)), Way::kWinograd);
    EXPECT_NE(way(square(2, 28)), Way::kWinograd);
    EXPECT_EQ(way(square(64, 1)), Way::kDirect);
  }
}

TEST(Ways, OutputsGoByBandsWhereTheTransformsAreWorthIt) {
  EXPECT_EQ(way_of_outputs(square(4, 24)), Way::kBands);
  EXPECT_EQ(way_of_outputs(square(64, 12)), Way::kBands);
  EXPECT_EQ(way_of_outputs(square(1, 28)), Way::kDirect);
  EXPECT_EQ(way_of_outputs(square(64, 1)), Way::kDirect);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
