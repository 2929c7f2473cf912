#include "mnistcnn/engine/aten/aten_engine.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace mnistcnn::engine::aten {
namespace {

using namespace mnistcnn::network;  // NOLINT: the layers' names make the networks readable

Model make_model() {
  Conv2d conv;
  conv.out_channels = 3;
  conv.kernel = {3, 3};
  Model model;
  model.graph = {{1, 6, 6},
                 {{"conv", conv, {kInputImage}},
                  {"norm", BatchNorm2d{}, {0}},
                  {"act", Tanh{}, {1}},
                  {"flat", Flatten{}, {2}},
                  {"drop", Dropout{0.5}, {3}},
                  {"out", Linear{4}, {4}}}};
  model.analysis = analyse(model.graph);
  model.parameters = initialise(model.graph, model.analysis, 3);
  return model;
}

// The loss sum(outputs) changes by gradient * step when one number changes by step: central differences, in float,
// hence the coarse tolerance.
TEST(AtenEngine, GradientsAreSlopes) {
  Model model = make_model();
  const auto engine = make_engine(model);
  const at::Tensor images = at::rand({5, 1, 6, 6});
  const Randomness randomness{11, 0};
  const auto loss = [&] {
    return engine->forward(images, Mode::kTrain, randomness, Keep::kNothing).sum().item<double>();
  };
  const at::Tensor outputs = engine->forward(images, Mode::kTrain, randomness, Keep::kForParametersAndImages);
  const at::Tensor image_gradients = engine->backward(at::ones_like(outputs));
  EXPECT_EQ(image_gradients.sizes(), images.sizes());
  const at::Tensor gradients = model.parameters.gradients.clone();
  float* const values = model.parameters.values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < gradients.numel(); i += 7) {
    const float kept = values[i];
    values[i] = kept + 1e-2F;
    const double above = loss();
    values[i] = kept - 1e-2F;
    const double below = loss();
    values[i] = kept;
    EXPECT_NEAR(gradients[i].item<double>(), (above - below) / 2e-2, 2e-2) << "parameter " << i;
  }
}

TEST(AtenEngine, BackwardReplacesOldGradients) {
  Model model = make_model();
  const auto engine = make_engine(model);
  const at::Tensor images = at::rand({5, 1, 6, 6});
  const auto gradients = [&] {
    engine->backward(at::ones_like(engine->forward(images, Mode::kTrain, {1, 0}, Keep::kForParameters)));
    return model.parameters.gradients.clone();
  };
  const at::Tensor first = gradients();
  EXPECT_TRUE(gradients().equal(first));
}

TEST(AtenEngine, CountsBatchesInTrainingOnly) {
  Model model = make_model();
  const auto engine = make_engine(model);
  const at::Tensor images = at::rand({5, 1, 6, 6});
  engine->forward(images, Mode::kEvaluate, {}, Keep::kNothing);
  EXPECT_EQ(model.parameters.counters[0].item<std::int64_t>(), 0);
  engine->forward(images, Mode::kTrain, {}, Keep::kNothing);
  EXPECT_EQ(model.parameters.counters[0].item<std::int64_t>(), 1);
}

TEST(AtenEngine, StepEqualsForwardLossAndBackward) {
  Model model = make_model();
  const auto engine = make_engine(model);
  std::vector<std::uint8_t> pixels(7 * 36);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37);
  const std::vector<std::int64_t> indices{6, 0, 3}, labels{1, 2, 3};
  const std::vector<float> scale{1.0F / 255}, shift{-0.5F};
  const StepResult result =
      engine->step({pixels.data(), indices, scale, shift}, labels, {LossKind::kCrossEntropy, 0.1}, {2, 5});
  EXPECT_GT(result.loss_sum, 0);
  EXPECT_TRUE(model.parameters.gradients.abs().sum().item<double>() > 0);
  const at::Tensor predicted = engine->predict({pixels.data(), indices, scale, shift});
  EXPECT_EQ(predicted.sizes(), (std::vector<std::int64_t>{3, 4}));
}

TEST(AtenEngine, BackwardWithoutForwardIsRefused) {
  Model model = make_model();
  EXPECT_THROW(make_engine(model)->backward(at::rand({5, 4})), std::logic_error);
}

}  // namespace
}  // namespace mnistcnn::engine::aten
