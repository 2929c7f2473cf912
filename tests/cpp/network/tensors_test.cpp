#include "mnistcnn/network/tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <stdexcept>

namespace mnistcnn::network {
namespace {

struct Model {
  Graph graph;
  Analysis analysis;
  Tensors tensors;

  const at::Tensor& parameter(int node, Role role) const {
    return tensors.parameters[static_cast<std::size_t>(analysis.find(node, role) - analysis.parameters.data())];
  }
};

Model make_model(std::uint64_t seed) {
  Conv2d conv;
  conv.out_channels = 64;
  conv.kernel = {3, 3};
  Model model;
  model.graph = {{16, 8, 8}, {{"conv", conv, {kInputImage}}, {"norm", BatchNorm2d{}, {0}}, {"act", PReLU{}, {1}}}};
  model.analysis = analyse(model.graph);
  model.tensors = initialise(model.graph, model.analysis, seed);
  return model;
}

// Uniform distribution on [-b, b] with b = 1 / sqrt(16 * 9): standard deviation b / sqrt(3). Tolerances for 9,216
// samples: 2 % of the standard deviation (four standard errors), four standard errors of the mean.
TEST(Initialise, UsesPyTorchsDistributions) {
  const Model model = make_model(5);
  const at::Tensor weight = model.parameter(0, Role::kWeight);
  const double bound = 1 / 12.0, deviation = bound / std::sqrt(3.0);
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_NEAR(weight.std().item<double>(), deviation, 0.02 * deviation);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 4 * deviation / std::sqrt(9216.0));
  EXPECT_LE(model.parameter(0, Role::kBias).abs().max().item<double>(), bound);
  EXPECT_TRUE(model.parameter(1, Role::kWeight).eq(1).all().item<bool>());
  EXPECT_TRUE(model.tensors.buffers[0].eq(0).all().item<bool>());
  EXPECT_TRUE(model.tensors.buffers[1].eq(1).all().item<bool>());
  EXPECT_EQ(model.parameter(2, Role::kWeight).item<float>(), 0.25F);
}

TEST(Initialise, DependsOnlyOnTheSeed) {
  EXPECT_TRUE(make_model(5).tensors.parameters[0].equal(make_model(5).tensors.parameters[0]));
  EXPECT_FALSE(make_model(5).tensors.parameters[0].equal(make_model(6).tensors.parameters[0]));
}

TEST(Tensors, DoNotShareMemory) {
  const Model model = make_model(1);
  for (const at::Tensor& each : model.tensors.parameters)
    EXPECT_EQ(each.storage().nbytes(), static_cast<std::size_t>(4 * each.numel()));
}

TEST(Tensors, CheckThrowsForInvalidTensors) {
  const std::vector<std::function<void(Tensors&)>> changes{
      [](Tensors& t) { t.parameters.pop_back(); },
      [](Tensors& t) { t.parameters[0] = at::Tensor(); },
      [](Tensors& t) { t.parameters[0] = t.parameters[0].slice(0, 0, 10); },
      [](Tensors& t) { t.parameters[0] = t.parameters[0].to(at::kDouble); },
      [](Tensors& t) { t.parameters[0] = t.parameters[0].to_sparse(); },
      [](Tensors& t) { t.parameters[0].storage().set_nbytes(8); },
      [](Tensors& t) {
        t.buffers[0] = t.buffers[0].expand({2, 64}).transpose(0, 1).select(1, 0).as_strided({64}, {0});
      },
      [](Tensors& t) { t.counters[0] = t.counters[0].to(at::kInt); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Model model = make_model(1);
    check(model.tensors, model.analysis);
    changes[i](model.tensors);
    EXPECT_THROW(check(model.tensors, model.analysis), std::invalid_argument) << i;
  }
}

}  // namespace
}  // namespace mnistcnn::network
