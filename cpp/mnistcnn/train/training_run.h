#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/epoch.h"
#include "mnistcnn/train/evaluation.h"
#include "mnistcnn/train/optimizer.h"
#include "mnistcnn/train/recipe.h"

namespace mnistcnn::train {

// A training run, epoch by epoch. It owns the optimizer, the averages of the weights and the count of epochs; the model
// and the images are given to each call, so that engine, device, tensors and images may change between two calls. Used
// by one thread at a time.
class TrainingRun {
 public:
  // Everything that the next epoch depends on, besides the tensors of the model.
  struct State {
    std::uint64_t epochs = 0, steps = 0;  // done
    std::map<std::string, at::Tensor> tensors{};
  };

  // All parameters are trained; averages start from the model's weights. scheduled_momentum: the first one of a
  // schedule. An optimizer whose own momentum is 0 gets it, so that it has a momentum to schedule.
  TrainingRun(const ModelView& model, Recipe recipe, std::optional<double> scheduled_momentum = std::nullopt);

  std::uint64_t epochs() const { return epochs_; }
  std::uint64_t steps() const { return steps_; }

  // Train only these ranges of the flat parameters from now on; each must consist of whole parameters.
  void set_trainable(const std::vector<IndexRange>& trainable) { optimizer_.set_trainable(trainable); }

  // Continue after so many epochs and steps. A run whose averages were given to the model starts new ones.
  void continue_after(const ModelView& model, std::uint64_t epochs, std::uint64_t steps);

  // Train for one epoch with these rates, one per step. An exception ends it after a whole step and the epoch is not
  // counted. image: the size of the images of the set, if augmentation changes it; by default the network's input.
  // Throws common::DivergedError when a loss is not finite.
  EpochResult next_epoch(const ModelView& model, const data::ImageSet& set, const Rates& rates,
                         const Listeners& listeners = {}, std::optional<data::augmentation::Size> image = std::nullopt);

  // Test on a set, with the averaged weights if the averaging is one that validations see. The model stays as it is.
  metrics::Scores evaluate(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size = kTestBatch,
                           const OnImages& on_images = {}) const;

  // End the run: write the averaged weights into the model, if there are any. SWA then recomputes the running
  // statistics on the training images, u8 [count, C, H, W].
  void finish(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
              const OnImages& on_images = {});

  // Whether images are augmented, and may therefore have another size than the network's input.
  bool augments() const { return !recipe_.augmentation.empty(); }

  // Whether `finish` recomputes running statistics.
  bool needs_new_statistics() const { return averaging_ && averaging_->ready() && averaging_->needs_new_statistics(); }

  // The averages of the run; null without an averaging rule and after `finish`.
  std::shared_ptr<Averaging> averaging() const { return averaging_; }

  // A run that is restored from a state, with the tensors of the model of that moment, continues with the same bits.
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
