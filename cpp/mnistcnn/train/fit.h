#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "mnistcnn/train/training_run.h"

namespace mnistcnn::train {

struct EpochRecord {
  std::int64_t epoch = 1;                     // counted from 1
  double train_loss = 0, train_accuracy = 0;  // over the images, each with the weights of its own step
  std::optional<double> validation_loss, validation_accuracy;
  double learning_rate = 0, last_learning_rate = 0;  // of the first and the last step
  double seconds = 0;                                // of training, without the validation
};

struct History {
  std::vector<EpochRecord> epochs;
  std::vector<float> step_losses;  // mean over each batch
};

struct FitOptions {
  std::optional<data::ImageSet> validation{};  // tested after every epoch
  std::function<void(const EpochRecord&)> on_epoch{};
  Listeners listeners{};
};

// Train the model by the recipe: all epochs, then the averaged weights if the recipe averages. Throws
// common::DivergedError when a loss is not finite.
History fit(const ModelView& model, const data::ImageSet& train_set, const Recipe& recipe = {},
            const FitOptions& options = {});

}  // namespace mnistcnn::train
