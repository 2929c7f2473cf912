#include "mnistcnn/engine/lanes/conv/algorithm_selection.h"

#include <gtest/gtest.h>

// Selection of convolution algorithms for typical sizes.
namespace mnistcnn::engine::lanes::testing {
namespace {

// Square maps, with padding 1 and as many outputs as inputs.
Convolution3x3 square(std::int64_t channels, std::int64_t size) {
  return {{channels, size, size}, {channels, size, size}, 1, 1};
}

TEST(AlgorithmSelection, GradientsUseWinograd2dForManyChannelsOnLargeMaps) {
  for (const auto select : {select_input_gradient_algorithm, select_weight_gradient_algorithm}) {
    EXPECT_EQ(select(square(16, 28)), Algorithm::kWinograd2d);
    EXPECT_EQ(select(square(128, 12)), Algorithm::kWinograd2d);
    EXPECT_NE(select(square(2, 28)), Algorithm::kWinograd2d);
    EXPECT_EQ(select(square(64, 1)), Algorithm::kDirect);
  }
}

TEST(AlgorithmSelection, ForwardUsesWinograd2dFromThirtyTwoChannels) {
  EXPECT_EQ(select_forward_algorithm(square(32, 24)), Algorithm::kWinograd2d);
  EXPECT_EQ(select_forward_algorithm(square(31, 24)), Algorithm::kWinograd1d);
  const Convolution3x3 narrow_outputs{{64, 24, 24}, {16, 24, 24}, 1, 1};
  EXPECT_EQ(select_forward_algorithm(narrow_outputs), Algorithm::kWinograd1d);
}

TEST(AlgorithmSelection, WideConvolutionsOnSmallMapsUseTheBatchAlgorithm) {
  EXPECT_TRUE(uses_batch_algorithm(square(128, 8)));
  EXPECT_FALSE(uses_batch_algorithm(square(128, 12)));
  EXPECT_FALSE(uses_batch_algorithm(square(64, 8)));
  EXPECT_FALSE(uses_batch_algorithm(square(128, 1)));
  EXPECT_TRUE(uses_batch_algorithm({{128, 5, 10}, {128, 5, 10}, 1, 1}));
  EXPECT_FALSE(uses_batch_algorithm(square(128, 9)));
}

TEST(AlgorithmSelection, ForwardUsesWinograd1dIfItSavesMoreThanItsTransforms) {
  EXPECT_EQ(select_forward_algorithm(square(4, 24)), Algorithm::kWinograd1d);
  EXPECT_EQ(select_forward_algorithm(square(16, 12)), Algorithm::kWinograd1d);
  EXPECT_EQ(select_forward_algorithm(square(1, 28)), Algorithm::kDirect);
  EXPECT_EQ(select_forward_algorithm(square(64, 1)), Algorithm::kDirect);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
