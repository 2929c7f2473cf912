#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "mnistcnn/train/training_run.h"

// Train a model with a recipe.
namespace mnistcnn::train {

struct EpochRecord {
  std::int64_t epoch = 1;                     // counted from 1
  double train_loss = 0, train_accuracy = 0;  // over the images, each with the weights before its step
  std::optional<double> validation_loss, validation_accuracy;
  double learning_rate = 0, last_learning_rate = 0;  // of the first and the last step of the epoch
  double seconds = 0;                                // training time without validation
};

struct History {
  std::vector<EpochRecord> epochs;
  std::vector<float> step_losses;  // mean loss of each batch
};

struct FitOptions {
  std::optional<data::ImageSet> validation{};  // validation set, evaluated after every epoch
  std::function<void(const EpochRecord&)> on_epoch{};
  Listeners listeners{};
};

// Train the model for all epochs of the recipe. If the recipe averages weights, the model holds the averages at the
// end. Throw common::DivergedError if the loss or the weights become infinite or NaN.
History fit(const ModelView& model, const data::ImageSet& train_set, const Recipe& recipe = {},
            const FitOptions& options = {});

}  // namespace mnistcnn::train
