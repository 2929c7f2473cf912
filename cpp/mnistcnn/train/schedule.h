#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

// Learning rate schedules in closed form: the rates of an epoch are a function of SchedulePlan and the number of the
// epoch, so resumed runs are exact. The values are those of torch.optim.lr_scheduler. Each struct lists its fields in
// `visit`. The Python classes of the same names document the fields and validate their values.
namespace mnistcnn::train {

// Properties of a run that schedules depend on.
struct SchedulePlan {
  double learning_rate = 0.01;     // of the optimizer
  std::int64_t epochs = 1;         // of the whole run
  std::int64_t steps = 1;          // of each epoch
  std::optional<double> momentum;  // momentum or beta1 of the optimizer; nullopt if it has neither
};

// Learning rates and momenta of an epoch, one element per step.
struct Rates {
  std::vector<double> learning_rates;
  std::vector<double> momenta{};  // empty: the momentum of the optimizer
};

// Multiplies the learning rate by `factor` during the first `total_iters` epochs.
struct ConstantLR {
  static constexpr std::string_view kKind = "ConstantLR";
  double factor = 1;
  std::int64_t total_iters = 0;
  static void visit(auto& self, auto&& field) {
    field("factor", self.factor);
    field("total_iters", self.total_iters);
  }
};

// Multiplies the learning rate by `gamma` every `step_size` epochs.
struct StepLR {
  static constexpr std::string_view kKind = "StepLR";
  std::int64_t step_size = 1;
  double gamma = 0.1;
  static void visit(auto& self, auto&& field) {
    field("step_size", self.step_size);
    field("gamma", self.gamma);
  }
};

// Multiplies the learning rate by `gamma` at each milestone (number of completed epochs).
struct MultiStepLR {
  static constexpr std::string_view kKind = "MultiStepLR";
  std::vector<std::int64_t> milestones;
  double gamma = 0.1;
  static void visit(auto& self, auto&& field) {
    field("milestones", self.milestones);
    field("gamma", self.gamma);
  }
};

// Multiplies the learning rate by `gamma` after every epoch.
struct ExponentialLR {
  static constexpr std::string_view kKind = "ExponentialLR";
  double gamma = 1;
  static void visit(auto& self, auto&& field) { field("gamma", self.gamma); }
};

// Linear warm-up, then cosine annealing to `eta_min`.
struct CosineAnnealing {
  static constexpr std::string_view kKind = "CosineAnnealing";
  std::optional<std::int64_t> t_max;  // length of the annealing in epochs; nullopt: all epochs after the warm-up
  double eta_min = 0;
  std::int64_t warmup_epochs = 0;
  double warmup_start = 0.01;  // initial rate of the warm-up, as a fraction of the learning rate
  bool per_step = true;        // update the rate every step instead of every epoch
  static void visit(auto& self, auto&& field) {
    field("t_max", self.t_max);
    field("eta_min", self.eta_min);
    field("warmup_epochs", self.warmup_epochs);
    field("warmup_start", self.warmup_start);
    field("per_step", self.per_step);
  }
};

enum class Annealing { kCosine, kLinear };

// 1cycle policy: the rate rises to `max_lr`, then anneals; the momentum moves in the opposite direction.
struct OneCycleLR {
  static constexpr std::string_view kKind = "OneCycleLR";
  double max_lr = 0.1;
  double pct_start = 0.3;
  Annealing anneal_strategy = Annealing::kCosine;
  bool cycle_momentum = true;
  double base_momentum = 0.85, max_momentum = 0.95;
  double div_factor = 25, final_div_factor = 1e4;
  bool three_phase = false;
  static void visit(auto& self, auto&& field) {
    field("max_lr", self.max_lr);
    field("pct_start", self.pct_start);
    field("anneal_strategy", self.anneal_strategy);
    field("cycle_momentum", self.cycle_momentum);
    field("base_momentum", self.base_momentum);
    field("max_momentum", self.max_momentum);
    field("div_factor", self.div_factor);
    field("final_div_factor", self.final_div_factor);
    field("three_phase", self.three_phase);
  }
};

using Schedule = std::variant<ConstantLR, StepLR, MultiStepLR, ExponentialLR, CosineAnnealing, OneCycleLR>;

// Return the learning rate of the first step of an epoch. Epochs are counted from 0.
double epoch_rate(const Schedule& schedule, const SchedulePlan& plan, std::int64_t epoch);

// Return the rates of all steps of an epoch.
Rates rates(const Schedule& schedule, const SchedulePlan& plan, std::int64_t epoch);

// Throw std::invalid_argument if the schedule is not applicable to the run.
void check(const Schedule& schedule, const SchedulePlan& plan);

}  // namespace mnistcnn::train
