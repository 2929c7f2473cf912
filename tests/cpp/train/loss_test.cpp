#include "mnistcnn/train/loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mnistcnn::train {
namespace {

const std::vector<std::int64_t> kLabels{0, 2}, kPartners{2, 0};
const std::vector<float> kTeacherProbabilities{0.2F, 0.5F, 0.3F, 0.6F, 0.1F, 0.3F};

std::vector<TrainingLoss> losses() {
  std::vector<TrainingLoss> result;
  for (const auto kind : {engine::LossKind::kCrossEntropy, engine::LossKind::kNegativeLogLikelihood})
    result.push_back({.plain = {kind, 0.1}, .class_weights = {1, 0.5, 3}, .distillation = {{}, 2, 0.4}});
  return result;
}

// Compare the gradients with central differences of the mean loss (loss_sum / 2 images).
TEST(Loss, GradientsEqualFiniteDifferences) {
  for (const TrainingLoss& loss : losses())
    for (const bool has_teacher : {false, true}) {
      const Targets targets{kLabels, kPartners, 0.7,
                            has_teacher ? std::span<const float>(kTeacherProbabilities) : std::span<const float>()};
      std::vector<float> outputs{-0.5F, -1.5F, -2.0F, -3.0F, -0.25F, -1.0F}, gradients(6), unused(6);
      evaluate(loss, outputs, targets, gradients);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const float middle = outputs[i], step = 1.0F / 1024;
        outputs[i] = middle + step;
        const double above = evaluate(loss, outputs, targets, unused).loss_sum / 2;
        outputs[i] = middle - step;
        const double below = evaluate(loss, outputs, targets, unused).loss_sum / 2;
        outputs[i] = middle;
        EXPECT_NEAR(gradients[i], (above - below) / (2 * step), 1e-5) << i;
      }
    }
}

TEST(Loss, CorrectUsesTheLabelWithTheLargerShare) {
  const std::vector<float> outputs{3, 1, 2, 3, 1, 2};  // both predictions are class 0
  std::vector<float> gradients(6);
  EXPECT_EQ(evaluate({}, outputs, {.labels = kLabels, .partners = kPartners, .share = 0.9}, gradients).correct, 1);
  const std::vector<std::int64_t> zeros{0, 0}, twos{2, 2};
  EXPECT_EQ(evaluate({}, outputs, {.labels = zeros, .partners = twos, .share = 0.9}, gradients).correct, 2);
  EXPECT_EQ(evaluate({}, outputs, {.labels = zeros, .partners = twos, .share = 0.1}, gradients).correct, 0);
}

TEST(Loss, PropagatesNaN) {
  const std::vector<float> outputs{NAN, 1, 2, 3, 1, 2};
  std::vector<float> gradients(6);
  EXPECT_TRUE(std::isnan(evaluate({}, outputs, {.labels = kLabels}, gradients).loss_sum));
}

}  // namespace
}  // namespace mnistcnn::train
