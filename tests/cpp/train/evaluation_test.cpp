#include "mnistcnn/train/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "train/fake_engine.h"

namespace mnistcnn::train {
namespace {

TEST(Predict, ReturnsOutputsInOrder) {
  const std::shared_ptr<network::Network> network = one_linear_layer();
  FakeEngine engine(network);
  const network::Tensors tensors = network::initialise(network->graph, network->analysis, 0);
  const ModelView model(engine, tensors, {{1}, {0}});
  const at::Tensor outputs = predict(model, std::vector<std::uint8_t>(10), 10, 4);
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(outputs[i][0].item<float>(), static_cast<float>(i));
  EXPECT_THROW(predict(model, std::vector<std::uint8_t>(10), 10, 0), std::invalid_argument);
}

TEST(Score, SupportsProbabilities) {
  at::Tensor outputs = at::empty({2, 2}, at::kFloat);
  const std::vector<float> probabilities{0.25F, 0.75F, 0.0F, 1.0F};
  std::copy(probabilities.begin(), probabilities.end(), outputs.mutable_data_ptr<float>());
  const std::vector<std::int64_t> labels{1, 1};
  EXPECT_NEAR(score(outputs, labels, OutputKind::kProbabilities).loss_sum, -std::log(0.75), 1e-6);
  const std::vector<std::int64_t> impossible{1, 0};  // has probability 0
  EXPECT_TRUE(std::isfinite(score(outputs, impossible, OutputKind::kProbabilities).loss_sum));
}

TEST(OutputKind, IsDeterminedByTheLastLayer) {
  network::Network network = *one_linear_layer();
  EXPECT_EQ(output_kind(network), OutputKind::kLogits);
  EXPECT_EQ(fitting_loss(OutputKind::kLogits), engine::LossKind::kCrossEntropy);
  network.graph.nodes.push_back({"log", network::LogSoftmax{}, {1}});
  EXPECT_EQ(output_kind(network), OutputKind::kLogProbabilities);
  EXPECT_EQ(fitting_loss(OutputKind::kLogProbabilities), engine::LossKind::kNegativeLogLikelihood);
  network.graph.nodes.back().layer = network::Softmax{};
  EXPECT_EQ(output_kind(network), OutputKind::kProbabilities);
  EXPECT_THROW(fitting_loss(OutputKind::kProbabilities), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::train
