#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <variant>

#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/named_tensors.h"

// Averaging of weights during training: EMA, SWA and Lookahead.
namespace mnistcnn::train {

// Exponential moving average of the weights, updated every `every` steps. With warm_up, the decay of update n (counted
// from 0) is at most (1 + n) / (10 + n), so that the initial weights lose their influence quickly.
struct Ema {
  double decay = 0.999;
  std::int64_t every = 1;
  bool warm_up = true;
  bool buffers = true;  // average running statistics too
  static constexpr bool kUsedForValidation = true, kNeedsNewStatistics = false;
};

// Stochastic weight averaging: the mean of the weights after every `every`-th epoch, starting with epoch `start_epoch`
// (counted from 1).
struct Swa {
  std::int64_t start_epoch = 1, every = 1;
  static constexpr bool kUsedForValidation = false, kNeedsNewStatistics = true;
};

// Lookahead: every k steps, slow += alpha * (fast - slow), then fast = slow.
struct Lookahead {
  std::int64_t k = 5;
  double alpha = 0.5;
  static constexpr bool kUsedForValidation = true, kNeedsNewStatistics = false;
};

using AveragingRule = std::variant<Ema, Swa, Lookahead>;

// Averaged weights of a model.
class Averaging {
 public:
  Averaging(AveragingRule rule, const FlatParameters& parameters);

  void after_step(FlatParameters& parameters);
  void after_epoch(const FlatParameters& parameters, std::uint64_t epoch);  // counted from 0

  // Whether averages exist: not before the first update of EMA or SWA.
  bool ready() const;

  // Whether validation during the run uses the averages.
  bool used_for_validation() const;
  // Whether `recompute_statistics` must be called for the averaged weights.
  bool needs_new_statistics() const;

  // Swap the averages and the weights of the model. A second call restores them.
  void exchange(FlatParameters& parameters);
  bool exchanged() const { return exchanged_; }

  // Overwrite the weights of the model with the averages, if they exist.
  void copy_to(FlatParameters& parameters) const;

  NamedTensors state() const;
  void restore(const NamedTensors& state);
  // Throw std::invalid_argument unless the state can be restored, and std::logic_error while the model holds the
  // averages.
  void check_state(const NamedTensors& state) const;

 private:
  void update(const Ema& rule, FlatParameters& parameters);
  void update(const Swa&, FlatParameters&) {}
  void update(const Lookahead& rule, FlatParameters& parameters);
  void update_average(const FlatParameters& parameters, double weight);
  void move_to_device_of(const FlatParameters& parameters);

  AveragingRule rule_;
  at::Tensor values_;   // f32 [P]
  at::Tensor buffers_;  // f32 [buffers], undefined if they are not averaged
  std::int64_t averaged_ = 0, steps_ = 0;
  bool exchanged_ = false;
};

}  // namespace mnistcnn::train
