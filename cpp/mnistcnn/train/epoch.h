#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/data/image_set.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/model_view.h"
#include "mnistcnn/train/optimizer.h"
#include "mnistcnn/train/schedule.h"

namespace mnistcnn::train {

struct EpochOptions {
  std::int64_t batch_size = 128;
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;       // counted from 0; decides the order and the augmentation
  std::uint64_t first_step = 0;  // steps done before this epoch; decides the dropout masks
  bool shuffle = true;
  Rates rates{};
  const data::augmentation::AugmentationPlan* augmentation = nullptr;  // null: none
};

// The number of steps of an epoch. Throw std::invalid_argument if batch_size is below 1.
std::int64_t step_count(std::int64_t images, std::int64_t batch_size);

struct Progress {
  std::int64_t images, total;  // seen so far, and in the whole pass
  double loss_sum;             // over the images seen
  std::int64_t correct;
};

// Called now and then (at most every 50 ms) from the computing thread; an exception from it ends the pass after a whole
// number of steps.
using OnProgress = std::function<void(const Progress&)>;

// Called after every `every`-th step of the run with the number of steps done and the latest batch's mean loss. The
// tensors of the model then hold the weights of that step, and what the call changes in them takes effect.
struct OnStep {
  std::function<void(std::uint64_t steps, double loss)> call{};
  std::uint64_t every = 1;
};

struct Listeners {
  OnProgress on_progress{};
  OnStep on_step{};
};

struct EpochResult {
  double loss_sum = 0;  // over images, each with the weights of its own step
  std::int64_t correct = 0, count = 0;
  double seconds = 0;
  std::vector<float> step_losses;  // mean over each batch
};

// The loss that is minimised, and of which images.
struct Objective {
  Loss loss;
  std::optional<Mixing> mixing;
};

// One pass over the training set. The tensors of the model are read at its start and written at its end, also if an
// exception ends it. averaging: null for none. Throws common::DivergedError as soon as a loss is not finite.
EpochResult train_epoch(const ModelView& model, Optimizer& optimizer, Averaging* averaging, const data::ImageSet& set,
                        const Objective& objective, const EpochOptions& options, const Listeners& listeners);

}  // namespace mnistcnn::train
