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

// All settings of a training run. The defaults are those of mnistcnn.Recipe in Python.
struct Recipe {
  // Used by `fit` only; TrainingRun::next_epoch takes the rates of each epoch as an argument.
  std::int64_t epochs = 15;
  double learning_rate = 0.01;
  std::optional<Schedule> schedule{};  // nullopt: constant learning rate

  std::int64_t batch_size = 128;  // the last batch of an epoch may be smaller
  Rule optimizer = Sgd{.momentum = 0.9};
  GradientOptions gradients{};
  std::vector<ParameterRange> undecayed{};  // parameters without weight decay and l1
  std::optional<TrainingLoss> loss{};       // nullopt: the default loss for the network's outputs
  std::optional<Mixing> mixing{};
  std::vector<data::augmentation::Step> augmentation{};
  std::optional<AveragingRule> averaging{};
  bool shuffle = true;
  std::uint64_t seed = 0;  // determines the order of the images, dropout masks, augmentation and mixing
};

}  // namespace mnistcnn::train
