#include "mnistcnn/train/training_run.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "mnistcnn/engine/make_engine.h"
#include "mnistcnn/train/fit.h"

namespace mnistcnn::train {
namespace {

constexpr std::int64_t kImages = 20;

std::shared_ptr<const network::Network> small_network() {
  auto network = std::make_shared<network::Network>();
  network->graph = {{1, 4, 4},
                    {{"flat", network::Flatten{}, {network::kInputImage}},
                     {"fc", network::Linear{6}, {0}},
                     {"norm", network::BatchNorm1d{}, {1}},
                     {"drop", network::Dropout{0.25}, {2}},
                     {"out", network::Linear{10}, {3}},
                     {"log", network::LogSoftmax{}, {4}}}};
  network->analysis = network::analyse(network->graph);
  return network;
}

// A model and a data set of pseudo-random images.
struct RunSetup {
  std::shared_ptr<const network::Network> network = small_network();
  std::unique_ptr<engine::Engine> engine = engine::make_engine(network, "aten", 1);
  network::Tensors tensors = network::initialise(network->graph, network->analysis, 3);
  ModelView model{*engine, tensors, normalization({0.5}, {0.25})};
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels;
  data::ImageSet set;
  Recipe recipe{.epochs = 2, .batch_size = 8, .seed = 5};

  RunSetup() {
    for (std::int64_t i = 0; i < kImages * 16; ++i) images.push_back(static_cast<std::uint8_t>(i * i * 37 % 251));
    for (std::int64_t i = 0; i < kImages; ++i) labels.push_back(i % 10);
    set = {images, labels};
  }

  // Return parameters, running statistics and counters in one vector.
  std::vector<float> values() const {
    std::vector<float> all;
    for (const auto* list : {&tensors.parameters, &tensors.buffers, &tensors.counters})
      for (const at::Tensor& each : *list) {
        const at::Tensor flat = each.to(at::kFloat).flatten();
        all.insert(all.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
      }
    return all;
  }
};

const Rates kRates{{0.01, 0.01, 0.01}};

TEST(TrainingRun, TwoEpochsEqualFit) {
  RunSetup one, other;
  TrainingRun run(one.model, one.recipe);
  const EpochResult first = run.next_epoch(one.model, one.set, kRates);
  EXPECT_EQ(first.count, kImages);
  run.next_epoch(one.model, one.set, kRates);
  EXPECT_EQ(run.epochs(), 2U);
  EXPECT_EQ(run.steps(), 6U);
  const History history = fit(other.model, other.set, other.recipe);
  EXPECT_EQ(one.values(), other.values());
  ASSERT_EQ(history.epochs.size(), 2U);
  EXPECT_EQ(history.epochs[0].train_loss, first.loss_sum / kImages);
  EXPECT_EQ(history.epochs[1].epoch, 2);
  EXPECT_EQ(history.step_losses.size(), 6U);
}

TEST(TrainingRun, RestoredRunContinuesBitIdentically) {
  for (const AveragingRule& averaging :
       {AveragingRule(Ema{}), AveragingRule(Swa{}), AveragingRule(Lookahead{.k = 2})}) {
    RunSetup uninterrupted, resumed;
    uninterrupted.recipe.averaging = resumed.recipe.averaging = averaging;
    TrainingRun full_run(uninterrupted.model, uninterrupted.recipe), before(resumed.model, resumed.recipe);
    full_run.next_epoch(uninterrupted.model, uninterrupted.set, kRates);
    before.next_epoch(resumed.model, resumed.set, kRates);
    TrainingRun after(resumed.model, resumed.recipe);
    after.restore(before.state());
    EXPECT_EQ(after.epochs(), 1U);
    EXPECT_EQ(after.steps(), 3U);
    full_run.next_epoch(uninterrupted.model, uninterrupted.set, kRates);
    after.next_epoch(resumed.model, resumed.set, kRates);
    EXPECT_EQ(uninterrupted.values(), resumed.values());
    full_run.finish(uninterrupted.model, uninterrupted.images, kImages);
    after.finish(resumed.model, resumed.images, kImages);
    EXPECT_EQ(uninterrupted.values(), resumed.values());
  }
}

TEST(TrainingRun, RestoreChangesNothingIfAPartOfTheStateDoesNotMatch) {
  RunSetup setup;
  setup.recipe.averaging = Ema{};
  TrainingRun trained(setup.model, setup.recipe), run(setup.model, setup.recipe);
  trained.next_epoch(setup.model, setup.set, kRates);
  TrainingRun::State state = trained.state();
  ASSERT_EQ(state.tensors.erase("averaging.values"), 1U);
  const NamedTensors before = run.state().tensors;
  EXPECT_THROW(run.restore(state), std::invalid_argument);
  EXPECT_EQ(run.epochs(), 0U);
  const NamedTensors after = run.state().tensors;
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [name, tensor] : after) EXPECT_TRUE(tensor.equal(before.at(name))) << name;
}

TEST(TrainingRun, ExceptionOfACallbackLeavesCompleteSteps) {
  RunSetup stopped, reference;
  const auto stop = [](std::uint64_t steps, double) {
    if (steps == 2) throw std::runtime_error("enough");
  };
  TrainingRun run(stopped.model, stopped.recipe);
  EXPECT_THROW(run.next_epoch(stopped.model, stopped.set, kRates, {.on_step = {stop, 1}}), std::runtime_error);
  EXPECT_EQ(run.epochs(), 0U);
  EXPECT_EQ(run.steps(), 0U);

  // An uninterrupted run: compare with its weights after two steps.
  TrainingRun other(reference.model, reference.recipe);
  std::vector<float> after_two;
  const auto record_values = [&](std::uint64_t steps, double) {
    if (steps == 2) after_two = reference.values();
  };
  other.next_epoch(reference.model, reference.set, kRates, {.on_step = {record_values, 1}});
  EXPECT_EQ(stopped.values(), after_two);
}

TEST(TrainingRun, EvaluateUsesAveragesAndDoesNotChangeTheModel) {
  RunSetup setup;
  setup.recipe.averaging = Ema{.decay = 0.5, .warm_up = false};
  TrainingRun run(setup.model, setup.recipe);
  EXPECT_EQ(run.evaluate(setup.model, setup.set).loss(), test(setup.model, setup.set).loss());
  run.next_epoch(setup.model, setup.set, kRates);
  const std::vector<float> before = setup.values();
  const double averaged = run.evaluate(setup.model, setup.set).loss();
  EXPECT_EQ(setup.values(), before);
  EXPECT_NE(test(setup.model, setup.set).loss(), averaged);
  run.finish(setup.model, setup.images, kImages);
  EXPECT_EQ(test(setup.model, setup.set).loss(), averaged);
  EXPECT_EQ(run.averaging(), nullptr);
}

TEST(TrainingRun, TrainsOnlyTrainableParameters) {
  RunSetup setup;
  TrainingRun run(setup.model, setup.recipe);
  const std::vector<network::TensorSpec>& specs = setup.network->analysis.parameters;
  run.set_trainable({{specs[0].offset, specs[0].offset + specs[0].count}});
  const at::Tensor first = setup.tensors.parameters[0].clone(), second = setup.tensors.parameters[1].clone();
  run.next_epoch(setup.model, setup.set, kRates);
  EXPECT_FALSE(setup.tensors.parameters[0].equal(first));
  EXPECT_TRUE(setup.tensors.parameters[1].equal(second));
}

TEST(TrainingRun, ScheduledMomentumReplacesMomentum0) {
  RunSetup setup;
  setup.recipe.optimizer = Sgd{};
  const Rates rates{{0.01, 0.01, 0.01}, {0.9, 0.9, 0.9}};
  TrainingRun without(setup.model, setup.recipe), with(setup.model, setup.recipe, 0.9);
  EXPECT_THROW(without.next_epoch(setup.model, setup.set, rates), std::invalid_argument);
  with.next_epoch(setup.model, setup.set, rates);
  EXPECT_EQ(with.epochs(), 1U);
}

TEST(TrainingRun, ThrowsForInvalidImagesAndLabels) {
  RunSetup setup;
  TrainingRun run(setup.model, setup.recipe);
  setup.labels[7] = 10;
  EXPECT_THROW(run.next_epoch(setup.model, setup.set, kRates), std::invalid_argument);
  setup.labels[7] = 9;
  const data::ImageSet fewer{std::span(setup.images).first(16), setup.labels};
  EXPECT_THROW(run.next_epoch(setup.model, fewer, kRates), std::invalid_argument);
  EXPECT_THROW(test(setup.model, fewer), std::invalid_argument);
  EXPECT_THROW(test(setup.model, data::ImageSet{}), std::invalid_argument);
}

TEST(Fit, UsesTheScheduleAndValidatesAfterEveryEpoch) {
  RunSetup setup;
  setup.recipe.schedule = StepLR{.step_size = 1, .gamma = 0.5};
  std::vector<std::int64_t> epochs_reported;
  const History history =
      fit(setup.model, setup.set, setup.recipe, {.validation = setup.set, .on_epoch = [&](const EpochRecord& record) {
                                                   epochs_reported.push_back(record.epoch);
                                                 }});
  EXPECT_EQ(epochs_reported, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(history.epochs[0].learning_rate, 0.01);
  EXPECT_EQ(history.epochs[1].learning_rate, 0.005);
  const metrics::Scores scores = test(setup.model, setup.set);
  EXPECT_EQ(history.epochs[1].validation_loss, scores.loss());
  EXPECT_EQ(history.epochs[1].validation_accuracy, scores.accuracy());
  EXPECT_EQ(scores.confusion.size(), 100U);
}

TEST(Fit, ThrowsIfTheLastBatchIsTooSmallForBatchNorm) {
  RunSetup setup;
  setup.recipe.batch_size = 19;
  EXPECT_THROW(fit(setup.model, setup.set, setup.recipe), std::invalid_argument);
  setup.recipe.batch_size = 0;
  EXPECT_THROW(fit(setup.model, setup.set, setup.recipe), std::invalid_argument);
}

TEST(Fit, SchedulesMomentumIfTheOptimizerHasNone) {
  RunSetup setup;
  setup.recipe.optimizer = Sgd{};
  setup.recipe.schedule = OneCycleLR{.max_lr = 0.1};
  EXPECT_EQ(fit(setup.model, setup.set, setup.recipe).epochs.size(), 2U);
  setup.recipe.optimizer = Adagrad{};
  EXPECT_THROW(fit(setup.model, setup.set, setup.recipe), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::train
