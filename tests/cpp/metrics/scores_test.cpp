#include "mnistcnn/metrics/scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mnistcnn::metrics {
namespace {

TEST(Scores, EqualsExampleByHand) {
  const std::vector<float> logits{2, 0, 0, 3, 1, 1};  // three images, two classes
  const std::vector<std::int64_t> labels{0, 0, 1};
  const Scores scores = score(logits, labels, OutputScale::kLogits);
  EXPECT_EQ(scores.predictions, (std::vector<std::int64_t>{0, 1, 0}));  // equal outputs: the first class
  EXPECT_EQ(scores.confusion, (std::vector<std::int64_t>{1, 1, 1, 0}));
  EXPECT_EQ(scores.correct, 1);
  const double expected = std::log(1 + std::exp(-2.0)) + std::log(1 + std::exp(3.0)) + std::log(2.0);
  EXPECT_NEAR(scores.loss_sum, expected, 1e-12);
  EXPECT_EQ(scores.count(), 3);
  EXPECT_DOUBLE_EQ(scores.loss(), scores.loss_sum / 3);
  EXPECT_DOUBLE_EQ(scores.accuracy(), 1.0 / 3);
}

TEST(Scores, SupportsLogProbabilities) {
  const Scores scores =
      score(std::vector<float>{-0.5F, -2.0F}, std::vector<std::int64_t>{1}, OutputScale::kLogProbabilities);
  EXPECT_DOUBLE_EQ(scores.loss_sum, 2.0);
}

TEST(Scores, HugeLogitsDoNotOverflow) {
  const Scores scores = score(std::vector<float>{1e30F, -1e30F}, std::vector<std::int64_t>{0}, OutputScale::kLogits);
  EXPECT_DOUBLE_EQ(scores.loss_sum, 0.0);
}

TEST(ClassScores, EqualsExampleByHand) {
  // Three images of class 0, two of class 1, one of class 2, none of class 3; nothing is predicted as class 2.
  const std::vector<std::int64_t> confusion{2, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<ClassScore> scores = class_scores(confusion, 4);
  EXPECT_DOUBLE_EQ(scores[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores[0].recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores[0].f1, 2.0 / 3);
  EXPECT_EQ(scores[0].count, 3);
  EXPECT_DOUBLE_EQ(scores[1].precision, 1.0 / 2);
  EXPECT_DOUBLE_EQ(scores[1].f1, 1.0 / 2);
  EXPECT_TRUE(std::isnan(scores[2].precision));
  EXPECT_EQ(scores[2].recall, 0);
  EXPECT_EQ(scores[2].f1, 0);
  EXPECT_EQ(scores[3].precision, 0);
  EXPECT_TRUE(std::isnan(scores[3].recall));
  EXPECT_EQ(scores[3].count, 0);
}

TEST(Scores, SupportsZeroImages) { EXPECT_EQ(score({}, {}, OutputScale::kLogProbabilities).correct, 0); }

}  // namespace
}  // namespace mnistcnn::metrics
