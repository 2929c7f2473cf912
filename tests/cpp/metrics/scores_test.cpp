#include "mnistcnn/metrics/scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mnistcnn::metrics {
namespace {

TEST(Scores, CountByHand) {
  const std::vector<float> logits{2, 0, 0, 3, 1, 1};  // three images, two classes
  const std::vector<std::int64_t> labels{0, 0, 1};
  const Scores scores = score(logits, labels, false);
  EXPECT_EQ(scores.predictions, (std::vector<std::int64_t>{0, 1, 0}));  // the first one of equals
  EXPECT_EQ(scores.confusion, (std::vector<std::int64_t>{1, 1, 1, 0}));
  EXPECT_EQ(scores.correct, 1);
  const double expected = std::log(1 + std::exp(-2.0)) + std::log(1 + std::exp(3.0)) + std::log(2.0);
  EXPECT_NEAR(scores.loss_sum, expected, 1e-12);
}

TEST(Scores, TakeLogProbabilitiesAsTheyAre) {
  const Scores scores = score(std::vector<float>{-0.5F, -2.0F}, std::vector<std::int64_t>{1}, true);
  EXPECT_DOUBLE_EQ(scores.loss_sum, 2.0);
}

TEST(Scores, HugeLogitsDoNotOverflow) {
  const Scores scores = score(std::vector<float>{1e30F, -1e30F}, std::vector<std::int64_t>{0}, false);
  EXPECT_DOUBLE_EQ(scores.loss_sum, 0.0);
}

TEST(Scores, OfNothing) { EXPECT_EQ(score({}, {}, true).correct, 0); }

}  // namespace
}  // namespace mnistcnn::metrics
