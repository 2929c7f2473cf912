#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "mnistcnn/data/augmentation/steps.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/optimizer.h"
#include "mnistcnn/train/schedule.h"

namespace mnistcnn::train {

// All that decides a training run but the model and the data; the defaults are those of mnistcnn.Recipe.
struct Recipe {
  // Read by `fit` alone: whoever calls TrainingRun::next_epoch gives the rates of each epoch.
  std::int64_t epochs = 15;
  double learning_rate = 0.01;
  std::optional<Schedule> schedule{};  // none: the learning rate throughout

  std::int64_t batch_size = 128;  // the last batch of an epoch may be smaller
  Rule optimizer = Sgd{.momentum = 0.9};
  GradientOptions gradients{};
  std::vector<IndexRange> undecayed{};  // whole parameters that weight decay and l1 leave alone
  std::optional<Loss> loss{};           // none: the one that fits the network's outputs
  std::optional<Mixing> mixing{};
  std::vector<data::augmentation::Step> augmentation{};
  std::optional<AveragingRule> averaging{};
  bool shuffle = true;
  std::uint64_t seed = 0;  // decides the order of the images, dropout masks and augmentation
};

}  // namespace mnistcnn::train
