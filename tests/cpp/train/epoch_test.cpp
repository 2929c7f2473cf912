#include "mnistcnn/train/epoch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "mnistcnn/common/error.h"
#include "train/fake_engine.h"

namespace mnistcnn::train {
namespace {

struct TrainingSetup {
  std::shared_ptr<network::Network> network = one_linear_layer(10);
  network::Tensors tensors = network::initialise(network->graph, network->analysis, 0);
  std::vector<std::uint8_t> images = std::vector<std::uint8_t>(10);
  std::vector<std::int64_t> labels{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  data::ImageSet set{images, labels};
  FakeEngine engine{network};
  EpochOptions options;

  TrainingSetup() {
    for (at::Tensor& each : tensors.parameters) each.zero_();
    options.batch_size = 4;
    options.rates.learning_rates = {1, 1, 1};
  }

  ModelView model() {
    return {engine, [this] { return tensors; }, {{1}, {0}}};
  }

  float weight() const { return tensors.parameters[0].const_data_ptr<float>()[0]; }

  EpochResult run(const Listeners& listeners = {}) {
    const std::vector<ParameterRange> all{{0, network->analysis.parameter_count}};
    Optimizer optimizer(Sgd{}, {}, parameter_slices(*network), all, {});
    return train_epoch(model(), optimizer, nullptr, set, {}, options, listeners);
  }
};

TEST(TrainEpoch, WritesTheTensorsAtTheEndAndBeforeCallbacks) {
  TrainingSetup setup;
  std::vector<float> seen;
  const auto record_weight = [&](std::uint64_t, double) { seen.push_back(setup.weight()); };
  setup.run({.on_progress = {}, .on_step = {record_weight, 1}});
  EXPECT_EQ(seen, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(setup.weight(), 3);
  EXPECT_GT(setup.tensors.parameters[0]._version(), 0);
}

TEST(TrainEpoch, ReadsTheTensorsAgainAfterACallback) {
  TrainingSetup setup;
  const auto change = [&](std::uint64_t steps, double) {
    if (steps == 1) setup.tensors.parameters[0].fill_(10);
    if (steps == 2) setup.tensors.parameters[0] = setup.tensors.parameters[0].add(100);  // replaces the tensor
  };
  setup.run({.on_progress = {}, .on_step = {change, 1}});
  EXPECT_EQ(setup.weight(), 112);
}

TEST(TrainEpoch, WritesTheTensorsAfterAnException) {
  TrainingSetup setup;
  const auto stop = [&](std::uint64_t steps, double) {
    if (steps == 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW(setup.run({.on_progress = {}, .on_step = {stop, 2}}), std::runtime_error);
  EXPECT_EQ(setup.weight(), 2);
}

TEST(TrainEpoch, ProcessesEveryImageOnce) {
  TrainingSetup setup;
  const EpochResult result = setup.run();
  EXPECT_EQ(result.count, 10);
  EXPECT_EQ(result.loss_sum, 45);
  EXPECT_EQ(setup.engine.batches.size(), 3U);
  EXPECT_EQ(setup.engine.batches.back().size(), 2U);
  std::vector<std::int64_t> seen;
  for (const auto& batch : setup.engine.batches) seen.insert(seen.end(), batch.begin(), batch.end());
  EXPECT_NE(seen, setup.labels);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, setup.labels);
}

TEST(TrainEpoch, ChecksTheLabelsOfEveryBatch) {
  for (const std::int64_t label : {-100, 10}) {
    TrainingSetup setup;
    const auto change = [&](std::uint64_t, double) { std::ranges::fill(setup.labels, label); };
    EXPECT_THROW(setup.run({.on_progress = {}, .on_step = {change, 1}}), std::invalid_argument);
    EXPECT_EQ(setup.engine.batches.size(), 1U);
  }
}

TEST(TrainEpoch, ContinuesTheStepCount) {
  TrainingSetup setup;
  setup.options.first_step = 30;
  setup.options.shuffle = false;
  setup.run();
  EXPECT_EQ(setup.engine.steps, (std::vector<std::uint64_t>{30, 31, 32}));
  EXPECT_EQ(setup.engine.batches[0], (std::vector<std::int64_t>{0, 1, 2, 3}));
}

TEST(TrainEpoch, ThrowsIfTheLossIsNaN) {
  TrainingSetup setup;
  setup.engine.extra_loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(setup.run(), common::DivergedError);
  EXPECT_EQ(setup.engine.batches.size(), 1U);
}

TEST(TrainEpoch, CallsOnStepEverySecondStep) {
  TrainingSetup setup;
  setup.options.first_step = 7;
  setup.options.shuffle = false;
  std::vector<std::pair<std::uint64_t, double>> calls;
  setup.run(
      {.on_progress = {}, .on_step = {[&](std::uint64_t steps, double loss) { calls.emplace_back(steps, loss); }, 2}});
  const std::vector<std::pair<std::uint64_t, double>> expected{{8, 1.5}, {10, 8.5}};
  EXPECT_EQ(calls, expected);
}

TEST(TrainEpoch, ThrowsIfTheNumberOfRatesIsWrong) {
  TrainingSetup setup;
  setup.options.rates.learning_rates.pop_back();
  EXPECT_THROW(setup.run(), std::invalid_argument);
  setup.options.rates.learning_rates = {1, 1, 1};
  setup.options.rates.momenta = {0.9};
  EXPECT_THROW(setup.run(), std::invalid_argument);
  EXPECT_TRUE(setup.engine.batches.empty());
}

}  // namespace
}  // namespace mnistcnn::train
