#include "mnistcnn/network/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

namespace mnistcnn::network {
namespace {

Model make_model(std::uint64_t seed) {
  Conv2d conv;
  conv.out_channels = 64;
  conv.kernel = {3, 3};
  Model model;
  model.graph = {{16, 8, 8}, {{"conv", conv, {kInputImage}}, {"norm", BatchNorm2d{}, {0}}, {"act", PReLU{}, {1}}}};
  model.analysis = analyse(model.graph);
  model.parameters = initialise(model.graph, model.analysis, seed);
  return model;
}

// A uniform distribution on [-b, b], b = 1 / sqrt(16 * 9): deviation b / sqrt(3). Of 9,216 numbers the sample's
// deviation is within 2 % (four of its own deviations), the mean within four standard errors.
TEST(Initialise, FollowsPyTorchsDistribution) {
  const Model model = make_model(5);
  const at::Tensor weight = view(model.parameters.values, *model.analysis.find(0, Role::kWeight));
  const double bound = 1 / 12.0, deviation = bound / std::sqrt(3.0);
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_NEAR(weight.std().item<double>(), deviation, 0.02 * deviation);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 4 * deviation / std::sqrt(9216.0));
  EXPECT_LE(view(model.parameters.values, *model.analysis.find(0, Role::kBias)).abs().max().item<double>(), bound);
  EXPECT_TRUE(view(model.parameters.values, *model.analysis.find(1, Role::kWeight)).eq(1).all().item<bool>());
  EXPECT_TRUE(view(model.parameters.buffers, *model.analysis.find(1, Role::kRunningVariance)).eq(1).all().item<bool>());
  EXPECT_EQ(view(model.parameters.values, *model.analysis.find(2, Role::kWeight)).item<float>(), 0.25F);
}

TEST(Initialise, DependsOnTheSeedAlone) {
  EXPECT_TRUE(make_model(5).parameters.values.equal(make_model(5).parameters.values));
  EXPECT_FALSE(make_model(5).parameters.values.equal(make_model(6).parameters.values));
}

TEST(Parameters, AreViewsOfOneArray) {
  const Model model = make_model(1);
  view(model.parameters.values, *model.analysis.find(0, Role::kBias)).fill_(7);
  EXPECT_EQ(model.parameters.values[64 * 16 * 9].item<float>(), 7);
}

TEST(Parameters, OfAnotherSizeAreRefused) {
  Model model = make_model(1);
  model.parameters.values = model.parameters.values.slice(0, 0, 10);
  EXPECT_THROW(check(model.parameters, model.analysis), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::network
