#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/data/image_set.h"
#include "mnistcnn/engine/engine.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/optimizer.h"

namespace mnistcnn::train {

// pixel * scale + shift, one of each per channel
struct InputScaling {
  std::vector<float> scale, shift;
};

struct EpochOptions {
  std::int64_t batch_size = 128;
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;       // counted from 0; decides the order and the dropout masks
  std::uint64_t first_step = 0;  // steps made before this epoch
  bool shuffle = true;
  std::vector<double> learning_rates;                      // one per step
  std::vector<double> momenta;                             // one per step, or none: the optimizer's own
  const data::augmentation::Plan* augmentation = nullptr;  // what images go through, if anything
};

// How many steps an epoch makes of so many images.
std::int64_t step_count(std::int64_t images, std::int64_t batch_size);

struct Progress {
  std::int64_t images, total;  // seen so far, and in the whole pass
  double loss_sum;             // over the images seen
  std::int64_t correct;
};

// Called now and then (a few times a second at most) from the computing thread; an exception from it ends the pass
// after a whole number of steps.
using OnProgress = std::function<void(const Progress&)>;

// Called after every `every`-th step of the run with the number of steps made and the latest batch's mean loss. The
// tensors of the model then hold the weights of that step, and what the call changes in them takes effect.
struct OnStep {
  std::function<void(std::uint64_t steps, double loss)> call;
  std::uint64_t every = 1;
};

struct Listeners {
  OnProgress on_progress;
  OnStep on_step;
};

struct EpochResult {
  double loss_sum = 0;  // over images, each with the weights of its own step
  std::int64_t correct = 0, count = 0;
  double seconds = 0;
  std::vector<float> step_losses;  // mean over each batch
};

// What the steps make small, of which images, and what is kept of the weights beside the model.
struct Task {
  Loss loss;
  std::optional<Mixing> mixing;
  Averaging* averaging = nullptr;
};

// One pass over the training set. The tensors of the model are read at its start and written at its end, also if an
// exception ends it. Throws common::DivergedError as soon as a loss is not a finite number.
EpochResult train_epoch(const TensorSource& source, engine::Engine& engine, Optimizer& optimizer,
                        const data::ImageSet& set, const InputScaling& scaling, const Task& task,
                        const EpochOptions& options, const Listeners& listeners);

// Evaluation mode over a whole set, in order -> f32 [N, outputs], on the CPU
at::Tensor predict(const network::Tensors& tensors, engine::Engine& engine, std::int64_t outputs,
                   std::span<const std::uint8_t> images, std::int64_t count, const InputScaling& scaling,
                   std::int64_t batch_size, const std::function<void(std::int64_t images_done)>& on_progress);

}  // namespace mnistcnn::train
