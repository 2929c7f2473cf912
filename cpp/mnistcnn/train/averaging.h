#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include "mnistcnn/train/flat_parameters.h"

namespace mnistcnn::train {

// The exponential moving average of the weights after every `every`-th step. Warming up, the decay is at most
// (1 + n) / (10 + n) after n averages, so that the first weights are soon forgotten.
struct Ema {
  double decay = 0.999;
  std::int64_t every = 1;
  bool warm_up = true;
  bool buffers = true;  // whether running statistics are averaged too
  static constexpr bool kUsedForValidation = true, kNeedsNewStatistics = false;
};

// The plain average of the weights after every `every`-th epoch from `start_epoch` on, counted from 1.
struct Swa {
  std::int64_t start_epoch = 1, every = 1;
  static constexpr bool kUsedForValidation = false, kNeedsNewStatistics = true;
};

// Every k steps the slow weights go the share alpha of the way to the model's, which then go on from there.
struct Lookahead {
  std::int64_t k = 5;
  double alpha = 0.5;
  static constexpr bool kUsedForValidation = true, kNeedsNewStatistics = false;
};

using AveragingRule = std::variant<Ema, Swa, Lookahead>;

// A second set of weights beside a model's, made of those of many steps.
class Averaging {
 public:
  using State = std::map<std::string, at::Tensor>;

  Averaging(AveragingRule rule, const FlatParameters& parameters);

  void after_step(FlatParameters& parameters);
  void after_epoch(const FlatParameters& parameters, std::uint64_t epoch);  // counted from 0

  // Whether there are averages yet.
  bool ready() const;

  // Whether a validation during the run is made with the averages.
  bool used_for_validation() const;
  // Whether the averages need running statistics of their own, by `recompute_statistics`.
  bool needs_new_statistics() const;

  // The model gets the averages, and they become what it had; once more, and all is as it was.
  void exchange(FlatParameters& parameters);
  bool exchanged() const { return exchanged_; }

  // Replace the model's weights by the averages, if there are any.
  void copy_to(FlatParameters& parameters) const;

  State state() const;
  void restore(const State& state);

 private:
  void update(const Ema& rule, FlatParameters& parameters);
  void update(const Swa&, FlatParameters&) {}
  void update(const Lookahead& rule, FlatParameters& parameters);
  void update_average(const FlatParameters& parameters, double weight);
  void move_to_device_of(const FlatParameters& parameters);

  AveragingRule rule_;
  at::Tensor values_;   // f32 [P]
  at::Tensor buffers_;  // f32 [buffers], undefined where they are not averaged
  std::int64_t averaged_ = 0, steps_ = 0;
  bool exchanged_ = false;
};

}  // namespace mnistcnn::train
