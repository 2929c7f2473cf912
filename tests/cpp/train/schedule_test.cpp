#include "mnistcnn/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <stdexcept>

namespace mnistcnn::train {
namespace {

const SchedulePlan kPlan{.learning_rate = 0.5, .epochs = 6, .steps = 2, .momentum = 0.9};

std::vector<double> per_epoch(const Schedule& schedule) {
  std::vector<double> rates;
  for (std::int64_t epoch = 0; epoch < kPlan.epochs; ++epoch) rates.push_back(epoch_rate(schedule, kPlan, epoch));
  return rates;
}

using Numbers = std::vector<double>;

TEST(Schedule, ConstantLRAppliesTheFactorAtFirst) {
  EXPECT_EQ(per_epoch(ConstantLR{.factor = 0.25, .total_iters = 2}), (Numbers{0.125, 0.125, 0.5, 0.5, 0.5, 0.5}));
  EXPECT_EQ(per_epoch(ConstantLR{}), (Numbers{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}));
}

TEST(Schedule, StepLRDecaysEveryStepSizeEpochs) {
  EXPECT_EQ(per_epoch(StepLR{.step_size = 2, .gamma = 0.5}), (Numbers{0.5, 0.5, 0.25, 0.25, 0.125, 0.125}));
}

TEST(Schedule, MultiStepLRDecaysAtMilestones) {
  EXPECT_EQ(per_epoch(MultiStepLR{.milestones = {1, 4, 4}, .gamma = 0.5}),
            (Numbers{0.5, 0.25, 0.25, 0.25, 0.0625, 0.0625}));
}

TEST(Schedule, ExponentialLRDecaysEveryEpoch) {
  EXPECT_EQ(per_epoch(ExponentialLR{.gamma = 0.5}), (Numbers{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625}));
}

TEST(Schedule, ThrowsIfTheRateOverflows) {
  EXPECT_THROW(epoch_rate(ExponentialLR{.gamma = 1e200}, kPlan, 2), std::overflow_error);
}

TEST(Schedule, RatesHaveOneElementPerStep) {
  const Rates found = rates(StepLR{.step_size = 1, .gamma = 0.5}, kPlan, 1);
  EXPECT_EQ(found.learning_rates, (Numbers{0.25, 0.25}));
  EXPECT_TRUE(found.momenta.empty());
}

TEST(Schedule, CosineAnnealingHasALinearWarmUp) {
  const CosineAnnealing schedule{.t_max = {}, .warmup_epochs = 2, .warmup_start = 0};
  EXPECT_EQ(rates(schedule, kPlan, 0).learning_rates, (Numbers{0, 0.125}));
  EXPECT_EQ(rates(schedule, kPlan, 1).learning_rates, (Numbers{0.25, 0.375}));
  EXPECT_EQ(rates(schedule, kPlan, 2).learning_rates[0], 0.5);
  EXPECT_NEAR(rates(schedule, kPlan, 4).learning_rates[0], 0.25, 1e-15);  // halfway through the cosine
}

TEST(Schedule, CosineAnnealingEndsAtEtaMin) {
  const CosineAnnealing schedule{.t_max = 4, .eta_min = 0.1, .per_step = false};
  const double quarter = 0.1 + 0.4 * (1 + std::cos(std::numbers::pi / 4)) / 2;
  EXPECT_EQ(rates(schedule, kPlan, 0).learning_rates, (Numbers{0.5, 0.5}));
  EXPECT_NEAR(epoch_rate(schedule, kPlan, 1), quarter, 1e-15);
  EXPECT_NEAR(epoch_rate(schedule, kPlan, 4), 0.1, 1e-15);
}

TEST(Schedule, OneCycleRisesAndAnneals) {
  // 12 steps: from 0.1 in step 0 to 1 in step 5 and down to 0.01 in step 11.
  const OneCycleLR schedule{.max_lr = 1,
                            .pct_start = 0.5,
                            .anneal_strategy = Annealing::kLinear,
                            .base_momentum = 0.8,
                            .max_momentum = 0.9,
                            .div_factor = 10,
                            .final_div_factor = 10};
  EXPECT_EQ(rates(schedule, kPlan, 0).learning_rates[0], 0.1);
  EXPECT_EQ(rates(schedule, kPlan, 0).momenta[0], 0.9);
  EXPECT_NEAR(rates(schedule, kPlan, 0).learning_rates[1], 0.1 + 0.9 / 5, 1e-15);
  EXPECT_EQ(rates(schedule, kPlan, 2).learning_rates[1], 1);
  EXPECT_NEAR(rates(schedule, kPlan, 2).momenta[1], 0.8, 1e-15);
  EXPECT_NEAR(rates(schedule, kPlan, 4).learning_rates[0], 0.505, 1e-15);
  EXPECT_NEAR(rates(schedule, kPlan, 5).learning_rates[1], 0.01, 1e-15);
  EXPECT_NEAR(rates(schedule, kPlan, 5).momenta[1], 0.9, 1e-15);
}

TEST(Schedule, OneCycleWithThreePhasesReturnsToItsStart) {
  const OneCycleLR schedule{.max_lr = 1, .pct_start = 0.5, .cycle_momentum = false, .three_phase = true};
  EXPECT_NEAR(rates(schedule, kPlan, 5).learning_rates[0], 1.0 / 25, 1e-15);  // step 10 = twice the peak
  EXPECT_NEAR(rates(schedule, kPlan, 5).learning_rates[1], 1.0 / 25 / 1e4, 1e-15);
  EXPECT_TRUE(rates(schedule, kPlan, 0).momenta.empty());
}

TEST(Schedule, CheckThrowsForUnsuitableRuns) {
  EXPECT_THROW(check(CosineAnnealing{.t_max = {}, .warmup_epochs = 6}, kPlan), std::invalid_argument);
  check(CosineAnnealing{.t_max = 3, .warmup_epochs = 6}, kPlan);
  SchedulePlan plan = kPlan;
  plan.momentum = std::nullopt;
  EXPECT_THROW(check(OneCycleLR{}, plan), std::invalid_argument);
  check(OneCycleLR{.cycle_momentum = false}, plan);
  plan.epochs = plan.steps = 1;
  EXPECT_THROW(check(OneCycleLR{.cycle_momentum = false}, plan), std::invalid_argument);
  check(StepLR{}, plan);
}

}  // namespace
}  // namespace mnistcnn::train
