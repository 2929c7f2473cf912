#include "mnistcnn/train/fit.h"

namespace mnistcnn::train {
namespace {

SchedulePlan plan_of(const Recipe& recipe, std::int64_t images) {
  return {recipe.learning_rate, recipe.epochs, step_count(images, recipe.batch_size), momentum_of(recipe.optimizer)};
}

// Fail before training, not at the end of the first epoch, if the last batch is too small for a batch norm.
void check_last_batch(const network::Network& network, std::int64_t images, std::int64_t batch_size) {
  const std::int64_t remainder = images % batch_size;
  network::check_batch(network.graph, network.analysis, remainder == 0 ? batch_size : remainder, true);
}

Rates rates_of(const Recipe& recipe, const SchedulePlan& plan, std::int64_t epoch) {
  if (recipe.schedule) return rates(*recipe.schedule, plan, epoch);
  return {std::vector<double>(static_cast<std::size_t>(plan.steps), recipe.learning_rate)};
}

// Return the momentum of the first step, or nullopt if the schedule does not set the momentum.
std::optional<double> first_momentum(const Recipe& recipe, const SchedulePlan& plan) {
  const std::vector<double> momenta = rates_of(recipe, plan, 0).momenta;
  return momenta.empty() ? std::nullopt : std::optional(momenta.front());
}

EpochRecord record_of(std::uint64_t epoch, const EpochResult& result, const Rates& rates) {
  const auto count = static_cast<double>(result.count);
  return {.epoch = static_cast<std::int64_t>(epoch),
          .train_loss = result.loss_sum / count,
          .train_accuracy = static_cast<double>(result.correct) / count,
          .validation_loss = {},
          .validation_accuracy = {},
          .learning_rate = rates.learning_rates.front(),
          .last_learning_rate = rates.learning_rates.back(),
          .seconds = result.seconds};
}

}  // namespace

History fit(const ModelView& model, const data::ImageSet& train_set, const Recipe& recipe, const FitOptions& options) {
  const SchedulePlan plan = plan_of(recipe, train_set.size());
  if (recipe.schedule) check(*recipe.schedule, plan);
  check_last_batch(model.network(), train_set.size(), recipe.batch_size);
  TrainingRun run(model, recipe, first_momentum(recipe, plan));
  History history;
  while (static_cast<std::int64_t>(run.epochs()) < recipe.epochs) {
    const Rates rates = rates_of(recipe, plan, static_cast<std::int64_t>(run.epochs()));
    const EpochResult result = run.next_epoch(model, train_set, rates, options.listeners);
    EpochRecord record = record_of(run.epochs(), result, rates);
    if (options.validation) {
      const metrics::Scores scores = run.evaluate(model, *options.validation);
      record.validation_loss = scores.loss();
      record.validation_accuracy = scores.accuracy();
    }
    history.epochs.push_back(record);
    history.step_losses.insert(history.step_losses.end(), result.step_losses.begin(), result.step_losses.end());
    if (options.on_epoch) options.on_epoch(record);
  }
  run.finish(model, train_set.images, train_set.size());
  return history;
}

}  // namespace mnistcnn::train
