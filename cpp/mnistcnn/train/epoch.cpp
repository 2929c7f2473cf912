#include "mnistcnn/train/epoch.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/label.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/order.h"
#include "mnistcnn/train/augmented_images.h"
#include "mnistcnn/train/custom_loss_step.h"
#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/outputs.h"
#include "mnistcnn/train/throttle.h"

namespace mnistcnn::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::optional<double> momentum_at(const EpochOptions& options, std::size_t step) {
  if (options.rates.momenta.empty()) return std::nullopt;
  return options.rates.momenta[step];
}

void check_options(const EpochOptions& options, std::int64_t images) {
  const auto steps = static_cast<std::size_t>(step_count(images, options.batch_size));
  if (options.rates.learning_rates.size() != steps)
    throw std::invalid_argument(common::text("an epoch of ", images, " images in batches of ", options.batch_size,
                                             " has ", steps, " steps, but got ", options.rates.learning_rates.size(),
                                             " learning rates"));
  if (!options.rates.momenta.empty() && options.rates.momenta.size() != steps)
    throw std::invalid_argument(common::text("got ", options.rates.momenta.size(), " momenta for ", steps, " steps"));
}

void check_finite(double loss, const EpochOptions& options, std::size_t step) {
  if (std::isfinite(loss)) return;
  const double shown = std::isnan(loss) ? std::abs(loss) : loss;  // print nan, not -nan
  throw common::DivergedError(common::text("the loss became ", shown, " in epoch ", options.epoch + 1, ", step ",
                                           step + 1, ", with learning rate ", options.rates.learning_rates[step],
                                           "; try a smaller learning rate, and check that the data is finite"));
}

void check_weights(const FlatParameters& flat, const EpochOptions& options) {
  if (flat.values.isfinite().all().item<bool>()) return;
  throw common::DivergedError(common::text("the weights became infinite or NaN in the last step of epoch ",
                                           options.epoch + 1, ", with learning rate ",
                                           options.rates.learning_rates.back(), "; try a smaller learning rate"));
}

// Runs the engine's own step if the engine supports the loss, otherwise a CustomLossStep.
class StepRunner {
 public:
  StepRunner(engine::Engine& engine, const Objective& objective) : engine_(engine), loss_(objective.loss.plain) {
    if (!objective.loss.is_plain() || objective.mixing)
      custom_step_ = std::make_unique<CustomLossStep>(engine, objective.loss, objective.mixing);
  }

  engine::StepResult step(FlatParameters& flat, const engine::ImageBatch& batch, std::span<const std::int64_t> labels,
                          engine::Randomness randomness) {
    if (custom_step_) return custom_step_->step(flat, batch, labels, randomness);
    return engine_.step(flat.tensors, flat.gradient_tensors, batch, labels, loss_, randomness);
  }

  void read_teachers() {
    if (custom_step_) custom_step_->read_teachers();
  }

 private:
  engine::Engine& engine_;
  const engine::Loss& loss_;
  std::unique_ptr<CustomLossStep> custom_step_;
};

// Flat copy of the tensors of a model during an epoch, and the tensors to which it is written back.
class WorkingCopy {
 public:
  WorkingCopy(const network::Analysis& analysis, const TensorSource& source)
      : source_(source), tensors_(source_()), flat_(analysis, tensors_) {}

  FlatParameters& flat() { return flat_; }

  void write() {
    if (is_changed_) flat_.write(tensors_);
    is_changed_ = false;
  }
  void write_if_possible() noexcept {
    try {
      write();
    } catch (const std::exception&) {  // tensors are invalid; the exception that ended the epoch is more informative
    }
  }
  void read() {
    tensors_ = source_();
    flat_.read(tensors_);
  }
  void mark_changed() { is_changed_ = true; }

 private:
  const TensorSource& source_;
  network::Tensors tensors_;
  FlatParameters flat_;
  bool is_changed_ = false;  // flat_ differs from tensors_
};

void add(EpochResult& result, const engine::StepResult& step_result, std::size_t size) {
  result.loss_sum += step_result.loss_sum;
  result.correct += step_result.correct;
  result.count += static_cast<std::int64_t>(size);
  result.step_losses.push_back(static_cast<float>(step_result.loss_sum / static_cast<double>(size)));
}

}  // namespace

std::int64_t step_count(std::int64_t images, std::int64_t batch_size) {
  if (batch_size < 1) throw std::invalid_argument(common::text("batch_size must be at least 1, got ", batch_size));
  return images / batch_size + (images % batch_size == 0 ? 0 : 1);
}

namespace {

// State of an epoch in progress.
class Epoch {
 public:
  Epoch(WorkingCopy& copy, const ModelView& model, Optimizer& optimizer, Averaging* averaging,
        const data::ImageSet& set, const Objective& objective, const EpochOptions& options, const Listeners& listeners)
      : copy_(copy),
        step_runner_(*model.engine, objective),
        parallel_for_(
            [engine = model.engine](int tasks, const common::Task& run) { engine->parallel_for(tasks, run); }),
        optimizer_(optimizer),
        averaging_(averaging),
        set_(set),
        scaling_(model.scaling),
        options_(options),
        listeners_(listeners),
        classes_(class_count(model.network())),
        order_(options.shuffle ? data::shuffled_order(set.size(), options.seed, options.epoch)
                               : data::plain_order(set.size())) {
    if (options.augmentation != nullptr)
      augmented_.emplace(*options.augmentation, set.images.data(), options.seed, options.epoch);
  }

  EpochResult run() {
    const Clock::time_point start = Clock::now();
    for (std::int64_t begin = 0; begin < set_.size(); begin += options_.batch_size)
      step(std::span(order_).subspan(static_cast<std::size_t>(begin),
                                     static_cast<std::size_t>(std::min(options_.batch_size, set_.size() - begin))));
    check_weights(copy_.flat(), options_);  // no loss has been computed with the weights of the last step
    if (averaging_ != nullptr) averaging_->after_epoch(copy_.flat(), options_.epoch);
    result_.seconds = seconds_since(start);
    return result_;
  }

 private:
  void step(std::span<const std::int64_t> indices) {
    labels_.clear();
    for (const std::int64_t index : indices) {
      labels_.push_back(set_.labels[static_cast<std::size_t>(index)]);
      common::check_label(labels_.back(), index, classes_);  // the owner may have changed it since the epoch began
    }
    FlatParameters& flat = copy_.flat();
    const std::size_t step = result_.step_losses.size();
    const engine::ImageSource* const source = augmented_ ? &*augmented_ : nullptr;
    copy_.mark_changed();  // the forward changes the running statistics
    const engine::StepResult step_result =
        step_runner_.step(flat, {set_.images.data(), indices, scaling_.scale, scaling_.shift, source}, labels_,
                          {options_.seed, options_.first_step + step});
    check_finite(step_result.loss_sum, options_, step);
    optimizer_.step(flat.values, flat.gradients, options_.rates.learning_rates[step], momentum_at(options_, step),
                    parallel_for_);
    if (averaging_ != nullptr) averaging_->after_step(flat);
    add(result_, step_result, indices.size());
    report(step_result.loss_sum / static_cast<double>(indices.size()));
  }

  void report(double loss) {
    if (listeners_.on_progress && throttle_.due())
      listeners_.on_progress({result_.count, set_.size(), result_.loss_sum, result_.correct});
    const std::uint64_t steps_done = options_.first_step + result_.step_losses.size();
    if (!listeners_.on_step.call || steps_done % listeners_.on_step.every != 0) return;
    copy_.write();
    listeners_.on_step.call(steps_done, loss);
    copy_.read();
    step_runner_.read_teachers();
  }

  WorkingCopy& copy_;
  StepRunner step_runner_;
  const common::ParallelFor parallel_for_;
  Optimizer& optimizer_;
  Averaging* const averaging_;
  const data::ImageSet& set_;
  const InputScaling& scaling_;
  const EpochOptions& options_;
  const Listeners& listeners_;
  const std::int64_t classes_;
  const std::vector<std::int64_t> order_;
  std::optional<AugmentedImages> augmented_;
  std::vector<std::int64_t> labels_;
  Throttle throttle_;
  EpochResult result_;
};

}  // namespace

EpochResult train_epoch(const ModelView& model, Optimizer& optimizer, Averaging* averaging, const data::ImageSet& set,
                        const Objective& objective, const EpochOptions& options, const Listeners& listeners) {
  check_options(options, set.size());
  if (!options.rates.momenta.empty() && !optimizer.has_momentum())
    throw std::invalid_argument("the schedule sets the momentum, but the optimizer has none; set its momentum above 0");
  const c10::InferenceMode ordinary(
      false);  // tensors created here are saved by autograd, which inference tensors do not allow
  WorkingCopy copy(model.network().analysis, model.tensors);
  try {
    const EpochResult result = Epoch(copy, model, optimizer, averaging, set, objective, options, listeners).run();
    copy.write();
    return result;
  } catch (...) {
    copy.write_if_possible();
    throw;
  }
}

}  // namespace mnistcnn::train
