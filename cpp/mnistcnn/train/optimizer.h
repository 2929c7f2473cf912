#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <variant>
#include <vector>

#include "mnistcnn/common/parallel_for.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/named_tensors.h"
#include "mnistcnn/train/optimizers/adagrad.h"
#include "mnistcnn/train/optimizers/adam.h"
#include "mnistcnn/train/optimizers/muon.h"
#include "mnistcnn/train/optimizers/nadam.h"
#include "mnistcnn/train/optimizers/rmsprop.h"
#include "mnistcnn/train/optimizers/sgd.h"
#include "mnistcnn/train/optimizers/update.h"
#include "mnistcnn/train/parameter_range.h"

// Optimizers on flat arrays of parameters. The results are those of torch.optim.
namespace mnistcnn::train {

// Settings and update formula of an optimizer.
using Rule = std::variant<Sgd, Adam, NAdam, RMSprop, Adagrad, Muon>;

// Return the momentum or beta1 of a rule, or nullopt if it has neither.
std::optional<double> momentum_of(const Rule& rule);

// Return the rule with its momentum set to this value if it is 0. Other rules are returned unchanged.
Rule with_momentum(Rule rule, double momentum);

// Transforms of the gradients of all trainable parameters before the update. The l1 term is added before clipping.
struct GradientOptions {
  double l1 = 0;
  double clip_norm = std::numeric_limits<double>::infinity();   // maximum norm of all gradients, as clip_grad_norm_
  double clip_value = std::numeric_limits<double>::infinity();  // maximum absolute value, after clip_norm
};

// Position of one parameter in the flat arrays.
struct ParameterSlice {
  ParameterRange range;
  std::int64_t rows;  // rows of the matrix for Muon; 0 if the parameter is not a matrix
};
// Return the slices of all parameters, in order.
std::vector<ParameterSlice> parameter_slices(const network::Network& network);

// Implementation of the update: chosen by the device, or always tensor operations (for tests).
enum class CodePath { kAutomatic, kTensors };

// An optimizer rule with its state, in flat arrays of the layout of the parameters.
class Optimizer {
 public:
  // trainable: ranges that are updated; all other parameters are frozen. undecayed: ranges without weight decay and l1.
  // Ranges must consist of whole parameters.
  Optimizer(Rule rule, GradientOptions options, std::vector<ParameterSlice> slices,
            const std::vector<ParameterRange>& trainable, const std::vector<ParameterRange>& undecayed);

  // Change the trainable ranges. The state of frozen parameters is kept, and their steps are not counted.
  void set_trainable(const std::vector<ParameterRange>& trainable);

  bool has_momentum() const;

  // Update the values in place. values, gradients: contiguous f32 [P]. momentum: overrides the momentum of the rule
  // (beta1 for Adam-like rules). Large ranges of floats are divided among the tasks of `parallel_for`. The results do
  // not depend on the threads that it uses.
  void step(at::Tensor& values, const at::Tensor& gradients, double learning_rate, std::optional<double> momentum,
            const common::ParallelFor& parallel_for = common::serial_for, CodePath path = CodePath::kAutomatic);

  // Copies of the state by name. A restored optimizer continues bit-identically.
  NamedTensors state() const;
  void restore(const NamedTensors& state);
  // Throw std::invalid_argument unless the state can be restored.
  void check_state(const NamedTensors& state) const;

 private:
  // Adjacent parameters that are updated with the same settings.
  struct Segment {
    std::size_t first, last;  // parameters [first, last)
    ParameterRange range;
    bool decayed;
    std::int64_t rows;
  };

  // Arguments of `step`.
  struct Call {
    at::Tensor& values;
    const at::Tensor& gradients;
    const common::ParallelFor& parallel_for;
    CodePath path;
  };

  void build_segments();
  bool extends(const Segment& segment, std::size_t slice) const;
  void move_state_to(const at::Device& device);
  GradientTransform gradient_transform(const Call& call) const;
  double gradient_norm(const Call& call) const;
  template <class Formula>
  void apply(const Formula& formula, const GradientTransform& transform, const Segment& segment, const Call& call);
  void step_matrix(const Muon& muon, const OptimizerStep& step, const GradientTransform& transform,
                   const Segment& segment, const Call& call);

  Rule rule_;
  GradientOptions options_;
  std::vector<ParameterSlice> slices_;
  std::vector<bool> trainable_, decayed_;  // per parameter
  std::vector<std::int64_t> steps_;        // number of updates per parameter
  std::vector<double> momentum_products_;  // of NAdam, per parameter
  std::vector<Segment> segments_;          // of all trainable parameters
  std::vector<at::Tensor> slots_;          // f32 [P] each, in the order of rule.slots()
  std::int64_t count_;                     // number of elements of all parameters
};

}  // namespace mnistcnn::train
