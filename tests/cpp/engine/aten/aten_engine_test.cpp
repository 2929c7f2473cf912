#include "mnistcnn/engine/aten/aten_engine.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace mnistcnn::engine::aten {
namespace {

using namespace mnistcnn::network;  // NOLINT: names of layers

struct Model {
  std::shared_ptr<Network> network = std::make_shared<Network>();
  Tensors tensors;
  std::vector<at::Tensor> gradients;
  std::unique_ptr<Engine> engine;
};

Model make_model() {
  Conv2d conv;
  conv.out_channels = 3;
  conv.kernel = {3, 3};
  Model model;
  Network& network = *model.network;
  network.graph = {{1, 6, 6},
                   {{"conv", conv, {kInputImage}},
                    {"norm", BatchNorm2d{}, {0}},
                    {"act", Tanh{}, {1}},
                    {"flat", Flatten{}, {2}},
                    {"drop", Dropout{0.5}, {3}},
                    {"out", Linear{4}, {4}}}};
  network.analysis = analyse(network.graph);
  model.tensors = initialise(network.graph, network.analysis, 3);
  for (const at::Tensor& each : model.tensors.parameters) model.gradients.push_back(at::full_like(each, 77));
  model.engine = make_engine(model.network, 0);
  return model;
}

// Central differences of the loss sum(outputs), computed in float, hence the large tolerance.
TEST(AtenEngine, GradientsEqualFiniteDifferences) {
  const Model model = make_model();
  const at::Tensor images = at::rand({5, 1, 6, 6});
  const Randomness randomness{11, 0};
  const auto loss = [&] {
    return model.engine->forward(model.tensors, images, Mode::kTrain, randomness, Keep::kNothing).sum().item<double>();
  };
  const at::Tensor outputs =
      model.engine->forward(model.tensors, images, Mode::kTrain, randomness, Keep::kForParametersAndImages);
  const at::Tensor image_gradients =
      model.engine->backward(model.tensors.parameters, model.gradients, at::ones_like(outputs));
  EXPECT_EQ(image_gradients.sizes(), images.sizes());
  for (std::size_t tensor = 0; tensor < model.gradients.size(); ++tensor) {
    float* const values = model.tensors.parameters[tensor].mutable_data_ptr<float>();
    const float* const gradients = model.gradients[tensor].const_data_ptr<float>();
    for (std::int64_t i = 0; i < model.gradients[tensor].numel(); i += 7) {
      const float kept = values[i];
      values[i] = kept + 1e-2F;
      const double above = loss();
      values[i] = kept - 1e-2F;
      const double below = loss();
      values[i] = kept;
      EXPECT_NEAR(gradients[i], (above - below) / 2e-2, 2e-2) << "parameter " << tensor << ", element " << i;
    }
  }
}

TEST(AtenEngine, BackwardOverwritesGradients) {
  const Model model = make_model();
  const at::Tensor images = at::rand({5, 1, 6, 6});
  const auto gradients = [&] {
    const at::Tensor outputs = model.engine->forward(model.tensors, images, Mode::kTrain, {1, 0}, Keep::kForParameters);
    model.engine->backward(model.tensors.parameters, model.gradients, at::ones_like(outputs));
    return model.gradients.front().clone();
  };
  const at::Tensor first = gradients();
  EXPECT_TRUE(gradients().equal(first));
}

TEST(AtenEngine, CountsBatchesInTrainingOnly) {
  const Model model = make_model();
  const at::Tensor images = at::rand({5, 1, 6, 6});
  model.engine->forward(model.tensors, images, Mode::kEvaluate, {}, Keep::kNothing);
  EXPECT_EQ(model.tensors.counters[0].item<std::int64_t>(), 0);
  model.engine->forward(model.tensors, images, Mode::kTrain, {}, Keep::kNothing);
  EXPECT_EQ(model.tensors.counters[0].item<std::int64_t>(), 1);
}

TEST(AtenEngine, StepComputesLossAndGradients) {
  const Model model = make_model();
  std::vector<std::uint8_t> pixels(7 * 36);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37);
  const std::vector<std::int64_t> indices{6, 0, 3}, labels{1, 2, 3};
  const std::vector<float> scale{1.0F / 255}, shift{-0.5F};
  const StepResult result = model.engine->step(model.tensors, model.gradients, {pixels.data(), indices, scale, shift},
                                               labels, {LossKind::kCrossEntropy, 0.1}, {2, 5});
  EXPECT_GT(result.loss_sum, 0);
  EXPECT_TRUE(model.gradients.front().abs().sum().item<double>() > 0);
  const at::Tensor predicted = model.engine->predict(model.tensors, {pixels.data(), indices, scale, shift});
  EXPECT_EQ(predicted.sizes(), (std::vector<std::int64_t>{3, 4}));
}

TEST(AtenEngine, UsesTheTensorsOfEachCall) {
  const Model model = make_model();
  const at::Tensor images = at::rand({5, 1, 6, 6});
  const at::Tensor before = model.engine->forward(model.tensors, images, Mode::kEvaluate, {}, Keep::kNothing);
  Tensors others = model.tensors;
  for (at::Tensor& each : others.parameters) each = each.mul(2);
  const at::Tensor other = model.engine->forward(others, images, Mode::kEvaluate, {}, Keep::kNothing);
  EXPECT_FALSE(other.equal(before));
  EXPECT_TRUE(model.engine->forward(model.tensors, images, Mode::kEvaluate, {}, Keep::kNothing).equal(before));
}

TEST(AtenEngine, BackwardWithoutForwardThrows) {
  const Model model = make_model();
  EXPECT_THROW(model.engine->backward(model.tensors.parameters, model.gradients, at::rand({5, 4})), std::logic_error);
}

}  // namespace
}  // namespace mnistcnn::engine::aten
