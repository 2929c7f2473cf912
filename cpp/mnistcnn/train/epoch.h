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

// Train for one epoch.
namespace mnistcnn::train {

struct EpochOptions {
  std::int64_t batch_size = 128;
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;       // counted from 0; determines the order and the augmentation
  std::uint64_t first_step = 0;  // number of steps before this epoch; determines the dropout masks
  bool shuffle = true;
  Rates rates{};
  const data::augmentation::AugmentationPlan* augmentation = nullptr;  // null: no augmentation
};

// Return the number of steps of an epoch. Throw std::invalid_argument if batch_size < 1.
std::int64_t step_count(std::int64_t images, std::int64_t batch_size);

struct Progress {
  std::int64_t images, total;  // processed so far, in the whole epoch
  double loss_sum;             // over the processed images
  std::int64_t correct;
};

// Progress callback. Called between steps on the calling thread, at most every 50 ms. An exception ends the epoch.
using OnProgress = std::function<void(const Progress&)>;

// Step callback. Called after every `every`-th step of the run, with the number of completed steps and the mean loss of
// the last batch. The tensors of the model are up to date during the call, and may be modified or replaced by it.
struct OnStep {
  std::function<void(std::uint64_t steps, double loss)> call{};
  std::uint64_t every = 1;
};

struct Listeners {
  OnProgress on_progress{};
  OnStep on_step{};
};

struct EpochResult {
  double loss_sum = 0;  // over the images, each with the weights before its step
  std::int64_t correct = 0, count = 0;
  double seconds = 0;
  std::vector<float> step_losses;  // mean loss of each batch
};

// What training minimises: a loss, on mixed or original images.
struct Objective {
  TrainingLoss loss;
  std::optional<Mixing> mixing;
};

// Train for one epoch. The tensors of the model are read at the start and written at the end, also after an exception.
// averaging: may be null. Throw common::DivergedError as soon as a loss, or a weight at the end, is not finite.
EpochResult train_epoch(const ModelView& model, Optimizer& optimizer, Averaging* averaging, const data::ImageSet& set,
                        const Objective& objective, const EpochOptions& options, const Listeners& listeners);

}  // namespace mnistcnn::train
