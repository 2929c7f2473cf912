#include "mnistcnn/train/training_run.h"

#include <stdexcept>
#include <utility>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/openmp_threads.h"
#include "mnistcnn/train/statistics.h"

namespace mnistcnn::train {
namespace {

using data::augmentation::AugmentationPlan;
using data::augmentation::Size;

constexpr std::string_view kOptimizer = "optimizer.", kAveraging = "averaging.";

TrainingLoss loss_of(const Recipe& recipe, const network::Network& network) {
  TrainingLoss loss = recipe.loss.value_or(TrainingLoss{});
  if (!recipe.loss) loss.plain.kind = fitting_loss(output_kind(network));
  check_loss(loss, network.graph.input_shape, class_count(network));
  return loss;
}

std::vector<ParameterRange> all_parameters(const network::Analysis& analysis) {
  return {{0, analysis.parameter_count}};
}

Optimizer optimizer_of(const Recipe& recipe, std::optional<double> momentum, const ModelView& model) {
  const engine::ScopedOpenMpThreads openmp_threads(model.engine->threads());  // its state is tensors
  const network::Network& network = model.network();
  const Rule rule = momentum ? with_momentum(recipe.optimizer, *momentum) : recipe.optimizer;
  return {rule, recipe.gradients, parameter_slices(network), all_parameters(network.analysis), recipe.undecayed};
}

network::Shape shape_of(const Size& size) { return {size.channels, size.height, size.width}; }

void add_with_prefix(std::string_view prefix, const NamedTensors& from, NamedTensors& to) {
  for (const auto& [name, tensor] : from) to[std::string(prefix) + name] = tensor;
}

NamedTensors with_prefix(std::string_view prefix, const NamedTensors& tensors) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(prefix)) result[name.substr(prefix.size())] = tensor;
  return result;
}

}  // namespace

TrainingRun::TrainingRun(const ModelView& model, Recipe recipe, std::optional<double> scheduled_momentum)
    : recipe_(std::move(recipe)),
      objective_{loss_of(recipe_, model.network()), recipe_.mixing},
      optimizer_(optimizer_of(recipe_, scheduled_momentum, model)) {
  start_averaging(model);
}

void TrainingRun::start_averaging(const ModelView& model) {
  if (averaging_ || !recipe_.averaging) return;
  averaging_ =
      std::make_shared<Averaging>(*recipe_.averaging, FlatParameters(model.network().analysis, model.tensors()));
}

void TrainingRun::continue_after(const ModelView& model, std::uint64_t epochs, std::uint64_t steps) {
  start_averaging(model);
  epochs_ = epochs;
  steps_ = steps;
}

EpochResult TrainingRun::next_epoch(const ModelView& model, const data::ImageSet& set, const Rates& rates,
                                    const Listeners& listeners, std::optional<Size> image) {
  const engine::ScopedOpenMpThreads openmp_threads(model.engine->threads());
  const network::Shape& input = model.network().graph.input_shape;
  const std::optional<AugmentationPlan> plan = plan_for(input, image);
  check_set(model.network(), plan ? shape_of(plan->input()) : input, set);
  start_averaging(model);
  const EpochOptions options{.batch_size = recipe_.batch_size,
                             .seed = recipe_.seed,
                             .epoch = epochs_,
                             .first_step = steps_,
                             .shuffle = recipe_.shuffle,
                             .rates = rates,
                             .augmentation = plan ? &*plan : nullptr};
  const EpochResult result = train_epoch(model, optimizer_, averaging_.get(), set, objective_, options, listeners);
  ++epochs_;
  steps_ += result.step_losses.size();
  return result;
}

// Prepare the augmentation for images of this size. Throw std::invalid_argument unless the output has the input shape
// of the network.
std::optional<AugmentationPlan> TrainingRun::plan_for(const network::Shape& input, std::optional<Size> image) const {
  if (recipe_.augmentation.empty()) return std::nullopt;
  AugmentationPlan plan(recipe_.augmentation, image.value_or(Size{input[0], input[1], input[2]}));
  const network::Shape input_shape = shape_of(plan.input()), produced = shape_of(plan.output());
  if (produced != input)
    throw std::invalid_argument(common::text("the augmentation produces images of shape ", common::bracketed(produced),
                                             " from ", common::bracketed(input_shape), ", but the model requires ",
                                             common::bracketed(input)));
  return plan;
}

metrics::Scores TrainingRun::evaluate(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size,
                                      const OnImages& on_images) const {
  if (!averaging_ || !averaging_->used_for_validation() || !averaging_->ready() || averaging_->exchanged())
    return test(model, set, batch_size, on_images);
  const engine::ScopedOpenMpThreads openmp_threads(model.engine->threads());
  FlatParameters flat(model.network().analysis, model.tensors());
  averaging_->copy_to(flat);
  return test({*model.engine, flat.tensors, model.scaling}, set, batch_size, on_images);
}

void TrainingRun::finish(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                         const OnImages& on_images) {
  const engine::ScopedOpenMpThreads openmp_threads(model.engine->threads());
  if (averaging_ && averaging_->ready()) {
    change_flat(model.network().analysis, model.tensors(), [&](FlatParameters& flat) { averaging_->copy_to(flat); });
    if (averaging_->needs_new_statistics())
      recompute_statistics(model, images, count, recipe_.batch_size, recipe_.seed, on_images);
  }
  averaging_.reset();
}

TrainingRun::State TrainingRun::state() const {
  State state{epochs_, steps_};
  add_with_prefix(kOptimizer, optimizer_.state(), state.tensors);
  if (averaging_) add_with_prefix(kAveraging, averaging_->state(), state.tensors);
  return state;
}

void TrainingRun::restore(const State& state) {
  const NamedTensors optimizer = with_prefix(kOptimizer, state.tensors);
  const NamedTensors averages = with_prefix(kAveraging, state.tensors);
  optimizer_.check_state(optimizer);
  if (averaging_) averaging_->check_state(averages);
  optimizer_.restore(optimizer);
  if (averaging_) averaging_->restore(averages);
  epochs_ = state.epochs;
  steps_ = state.steps;
}

}  // namespace mnistcnn::train
