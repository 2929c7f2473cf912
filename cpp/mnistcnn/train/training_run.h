#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/epoch.h"
#include "mnistcnn/train/evaluation.h"
#include "mnistcnn/train/named_tensors.h"
#include "mnistcnn/train/optimizer.h"
#include "mnistcnn/train/recipe.h"

namespace mnistcnn::train {

// A training run that is executed epoch by epoch. It owns the optimizer, the averaged weights and the number of epochs.
// The model and the data set are arguments of each call, so engine, device, tensors and images may change between
// calls. Calls must not be concurrent.
class TrainingRun {
 public:
  // State of the run, without the tensors of the model.
  struct State {
    std::uint64_t epochs = 0, steps = 0;  // completed
    NamedTensors tensors{};
  };

  // All parameters are trainable. Averages are initialised with the weights of the model. scheduled_momentum: the first
  // momentum of the schedule, if it sets the momentum. It replaces a momentum of 0 of the optimizer.
  TrainingRun(const ModelView& model, Recipe recipe, std::optional<double> scheduled_momentum = std::nullopt);

  std::uint64_t epochs() const { return epochs_; }
  std::uint64_t steps() const { return steps_; }

  // Train only these ranges of the flat parameters in the following epochs. Ranges must consist of whole parameters.
  void set_trainable(const std::vector<ParameterRange>& trainable) { optimizer_.set_trainable(trainable); }

  // Continue with these numbers of completed epochs and steps. After `finish`, new averages are initialised.
  void continue_after(const ModelView& model, std::uint64_t epochs, std::uint64_t steps);

  // Train for one epoch. rates: one element per step. image: size of the images in the data set, if augmentation
  // changes it; default: the input size of the network. If a callback throws, the model holds the weights after the
  // last complete step, and the epoch is not counted. Throw common::DivergedError if the loss or the weights become
  // infinite or NaN.
  EpochResult next_epoch(const ModelView& model, const data::ImageSet& set, const Rates& rates,
                         const Listeners& listeners = {}, std::optional<data::augmentation::Size> image = std::nullopt);

  // Evaluate on a data set, with the averaged weights if the averaging rule uses them for validation. The model is not
  // changed.
  metrics::Scores evaluate(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size = kTestBatch,
                           const OnImages& on_images = {}) const;

  // End the run: copy the averaged weights to the model, if they exist. For SWA, recompute the running statistics on
  // the training images, u8 [count, C, H, W].
  void finish(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
              const OnImages& on_images = {});

  // Whether images are augmented. Then their size may differ from the input size of the network.
  bool augments() const { return !recipe_.augmentation.empty(); }

  // Whether `finish` recomputes running statistics.
  bool needs_new_statistics() const { return averaging_ && averaging_->ready() && averaging_->needs_new_statistics(); }

  // The averaged weights; null without an averaging rule and after `finish`.
  std::shared_ptr<Averaging> averaging() const { return averaging_; }

  // A run restored from a state and the tensors of the model at that time continues bit-identically. If the state does
  // not match, `restore` throws std::invalid_argument, and the run is unchanged.
  State state() const;
  void restore(const State& state);

 private:
  void start_averaging(const ModelView& model);
  std::optional<data::augmentation::AugmentationPlan> plan_for(const network::Shape& input,
                                                               std::optional<data::augmentation::Size> image) const;

  Recipe recipe_;
  Objective objective_;
  Optimizer optimizer_;
  std::shared_ptr<Averaging> averaging_;
  std::uint64_t epochs_ = 0, steps_ = 0;
};

}  // namespace mnistcnn::train
