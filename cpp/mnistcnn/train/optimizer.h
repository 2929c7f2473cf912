#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mnistcnn/network/analysis.h"
#include "mnistcnn/train/optimizers/adagrad.h"
#include "mnistcnn/train/optimizers/adam.h"
#include "mnistcnn/train/optimizers/muon.h"
#include "mnistcnn/train/optimizers/nadam.h"
#include "mnistcnn/train/optimizers/pass.h"
#include "mnistcnn/train/optimizers/rmsprop.h"
#include "mnistcnn/train/optimizers/sgd.h"
#include "mnistcnn/train/range.h"

namespace mnistcnn::train {

using Rule = std::variant<Sgd, Adam, NAdam, RMSprop, Adagrad, Muon>;

// The momentum of a rule, or its beta1; none: the rule has neither.
std::optional<double> momentum_of(const Rule& rule);

// The rule with this momentum instead of one of 0; any other rule as it is.
Rule with_momentum(Rule rule, double momentum);

// What happens to the gradients of all trainable parameters before any rule; clipping sees the l1 term too, as if it
// were a part of the loss.
struct GradientOptions {
  double l1 = 0;
  double clip_norm = std::numeric_limits<double>::infinity();   // of all together, as torch's clip_grad_norm_
  double clip_value = std::numeric_limits<double>::infinity();  // of each, after the norm
};

// One parameter in the flat arrays.
struct ParameterSlice {
  IndexRange range;
  std::int64_t rows;  // of the matrix it is for Muon; 0 where it is none
};
std::vector<ParameterSlice> parameter_slices(const network::Analysis& analysis);

// How the tensor path can be asked for where the fast one would do; the tests compare them.
enum class CodePath { kAutomatic, kTensors };

// A rule, and what it remembers of every parameter, in flat arrays like the parameters' own.
class Optimizer {
 public:
  using State = std::map<std::string, at::Tensor>;

  // trainable: the stretches that change, whole parameters; the rest is frozen. undecayed: those that weight decay and
  // l1 leave alone.
  Optimizer(Rule rule, GradientOptions options, std::vector<ParameterSlice> slices,
            const std::vector<IndexRange>& trainable, const std::vector<IndexRange>& undecayed);

  // From now on these; what was gathered for the others is kept, and their steps are not counted.
  void set_trainable(const std::vector<IndexRange>& trainable);

  bool has_momentum() const;

  // values, gradients: contiguous f32 [P]; else std::invalid_argument. A momentum takes the place of the rule's own (of
  // beta1 in Adam's family).
  void step(at::Tensor& values, const at::Tensor& gradients, double learning_rate, std::optional<double> momentum,
            CodePath path = CodePath::kAutomatic);

  // Copies of everything by name: with them a run goes on exactly where it was.
  State state() const;
  void restore(const State& state);

 private:
  // Neighbouring pieces that are treated alike.
  struct Segment {
    std::size_t first, last;  // pieces
    IndexRange range;
    bool decayed;
    std::int64_t rows;
  };

  void build_segments();
  bool extends(const Segment& segment, std::size_t slice) const;
  void move_state_to(const at::Device& device);
  GradientTransform gradient_transform(const at::Tensor& values, const at::Tensor& gradients, CodePath path) const;
  double gradient_norm(const at::Tensor& values, const at::Tensor& gradients, CodePath path) const;
  template <class Formula>
  void apply(const Formula& formula, const GradientTransform& transform, const Segment& segment, at::Tensor& values,
             const at::Tensor& gradients, CodePath path);
  void step_matrix(const Muon& muon, const OptimizerStep& step, const GradientTransform& transform,
                   const Segment& segment, at::Tensor& values, const at::Tensor& gradients);

  Rule rule_;
  GradientOptions options_;
  std::vector<ParameterSlice> slices_;
  std::vector<bool> trainable_, decayed_;  // of each piece
  std::vector<std::int64_t> steps_;        // made by each piece
  std::vector<double> momentum_products_;  // of each piece, NAdam's
  std::vector<Segment> segments_;          // all that is trainable
  std::vector<at::Tensor> slots_;          // f32 [P], as the rule names them
  std::int64_t count_;                     // of all parameters
};

}  // namespace mnistcnn::train
