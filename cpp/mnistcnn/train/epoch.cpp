#include "mnistcnn/train/epoch.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/order.h"
#include "mnistcnn/train/augmented_images.h"
#include "mnistcnn/train/soft_step.h"

namespace mnistcnn::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Lets a report through at most every 50 ms, so that reporting never costs what it reports on.
class Throttle {
 public:
  bool due() {
    const Clock::time_point now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return false;
    last_ = now;
    return true;
  }

 private:
  Clock::time_point last_ = Clock::now();
};

std::optional<double> momentum_at(const EpochOptions& options, std::size_t step) {
  if (options.momenta.empty()) return std::nullopt;
  return options.momenta[step];
}

void check_options(const EpochOptions& options, std::int64_t images) {
  if (options.batch_size < 1)
    throw std::invalid_argument(common::text("batch_size=", options.batch_size, " must be at least 1"));
  const auto steps = static_cast<std::size_t>(step_count(images, options.batch_size));
  if (options.learning_rates.size() != steps)
    throw std::invalid_argument(common::text("an epoch of ", images, " images in batches of ", options.batch_size,
                                             " makes ", steps, " steps, but there are ", options.learning_rates.size(),
                                             " learning rates"));
  if (!options.momenta.empty() && options.momenta.size() != steps)
    throw std::invalid_argument(common::text("there are ", options.momenta.size(), " momenta for ", steps, " steps"));
}

void check_finite(double loss, const EpochOptions& options, std::size_t step) {
  if (std::isfinite(loss)) return;
  const double told = std::isnan(loss) ? std::abs(loss) : loss;  // the sign of a NaN says nothing
  throw common::DivergedError(common::text("the loss became ", told, " in epoch ", options.epoch + 1, ", step ",
                                           step + 1, ", with learning rate ", options.learning_rates[step],
                                           "; try a smaller learning rate, and check that the data is finite"));
}

void check_weights(const network::Model& model, const EpochOptions& options) {
  if (model.parameters.values.isfinite().all().item<bool>()) return;
  throw common::DivergedError(common::text("the weights left the finite numbers in the last step of epoch ",
                                           options.epoch + 1, ", with learning rate ", options.learning_rates.back(),
                                           "; try a smaller learning rate"));
}

// The engine's own step where it knows the loss, ours where it doesn't.
class Stepper {
 public:
  Stepper(const network::Model& model, engine::Engine& engine, const Task& task)
      : engine_(engine), loss_(task.loss.plain) {
    if (!task.loss.is_plain() || task.mixing) soft_ = std::make_unique<SoftStep>(model, engine, task.loss, task.mixing);
  }

  engine::StepResult step(const engine::ImageBatch& batch, std::span<const std::int64_t> labels,
                          engine::Randomness randomness) {
    return soft_ ? soft_->step(batch, labels, randomness) : engine_.step(batch, labels, loss_, randomness);
  }

 private:
  engine::Engine& engine_;
  const engine::Loss& loss_;
  std::unique_ptr<SoftStep> soft_;
};

void add(EpochResult& result, const engine::StepResult& done, std::size_t size) {
  result.loss_sum += done.loss_sum;
  result.correct += done.correct;
  result.count += static_cast<std::int64_t>(size);
  result.step_losses.push_back(static_cast<float>(done.loss_sum / static_cast<double>(size)));
}

}  // namespace

std::int64_t step_count(std::int64_t images, std::int64_t batch_size) { return (images + batch_size - 1) / batch_size; }

EpochResult train_epoch(network::Model& model, engine::Engine& engine, Optimizer& optimizer, const data::ImageSet& set,
                        const InputScaling& scaling, const Task& task, const EpochOptions& options,
                        const Listeners& listeners) {
  check_options(options, set.size());
  const c10::InferenceMode ordinary(false);  // the buffers of our own steps enter autograd's records
  const Clock::time_point start = Clock::now();
  Throttle throttle;
  Stepper stepper(model, engine, task);
  const std::vector<std::int64_t> order =
      options.shuffle ? data::shuffled_order(set.size(), options.seed, options.epoch) : data::plain_order(set.size());
  std::optional<AugmentedImages> augmented;
  if (options.augmentation != nullptr)
    augmented.emplace(*options.augmentation, set.images.data(), options.seed, options.epoch);
  const engine::ImageSource* const source = augmented ? &*augmented : nullptr;
  std::vector<std::int64_t> labels;
  EpochResult result;
  for (std::int64_t begin = 0; begin < set.size(); begin += options.batch_size) {
    const auto size = static_cast<std::size_t>(std::min(options.batch_size, set.size() - begin));
    const std::span<const std::int64_t> indices(order.data() + begin, size);
    labels.clear();
    for (const std::int64_t index : indices) labels.push_back(set.labels[static_cast<std::size_t>(index)]);

    const std::size_t step = result.step_losses.size();
    const engine::StepResult done = stepper.step({set.images.data(), indices, scaling.scale, scaling.shift, source},
                                                 labels, {options.seed, options.first_step + step});
    check_finite(done.loss_sum, options, step);
    optimizer.step(model.parameters.values, model.parameters.gradients, options.learning_rates[step],
                   momentum_at(options, step));
    if (task.averaging != nullptr) task.averaging->after_step(model.parameters);
    add(result, done, size);
    if (listeners.on_progress && throttle.due())
      listeners.on_progress({result.count, set.size(), result.loss_sum, result.correct});
    const std::uint64_t made = options.first_step + step + 1;
    if (listeners.on_step.call && made % listeners.on_step.every == 0)
      listeners.on_step.call(made, done.loss_sum / static_cast<double>(size));
  }
  check_weights(model, options);  // the last step's have not been through any loss yet
  if (task.averaging != nullptr) task.averaging->after_epoch(model.parameters, options.epoch);
  result.seconds = seconds_since(start);
  return result;
}

at::Tensor predict(engine::Engine& engine, std::int64_t outputs, std::span<const std::uint8_t> images,
                   std::int64_t count, const InputScaling& scaling, std::int64_t batch_size,
                   const std::function<void(std::int64_t)>& on_progress) {
  at::Tensor result = at::empty({count, outputs}, at::kFloat);
  Throttle throttle;
  const std::vector<std::int64_t> order = data::plain_order(count);
  for (std::int64_t begin = 0; begin < count; begin += batch_size) {
    const std::int64_t size = std::min(batch_size, count - begin);
    const std::span<const std::int64_t> indices(order.data() + begin, static_cast<std::size_t>(size));
    const at::Tensor batch = engine.predict({images.data(), indices, scaling.scale, scaling.shift});
    result.narrow(0, begin, size).copy_(batch.reshape({size, outputs}));
    if (on_progress && throttle.due()) on_progress(begin + size);
  }
  return result;
}

}  // namespace mnistcnn::train
