#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "mnistcnn/train/optimizers/adam.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.Muon for the weights of convolutions and linear layers, viewed as matrices [out, rest]. AdamW for all
// other parameters.
struct Muon {
  static constexpr std::string_view kKind = "Muon";
  double momentum = 0.95, weight_decay = 0.1, eps = 1e-7;
  bool nesterov = true;
  double coefficient_a = 3.4445, coefficient_b = -4.7750, coefficient_c = 2.0315;  // of the Newton-Schulz iteration
  std::int64_t ns_steps = 5;
  bool match_rms_adamw = false;  // scale of the learning rate, as torch's adjust_lr_fn="match_rms_adamw"
  double adam_rate = 0.3;        // learning rate of AdamW relative to that of Muon
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_eps = 1e-8, adam_weight_decay = 0;
  static void visit(auto& self, auto&& field) {
    field("momentum", self.momentum);
    field("weight_decay", self.weight_decay);
    field("eps", self.eps);
    field("nesterov", self.nesterov);
    field("coefficient_a", self.coefficient_a);
    field("coefficient_b", self.coefficient_b);
    field("coefficient_c", self.coefficient_c);
    field("ns_steps", self.ns_steps);
    field("match_rms_adamw", self.match_rms_adamw);
    field("adam_rate", self.adam_rate);
    field("adam_beta1", self.adam_beta1);
    field("adam_beta2", self.adam_beta2);
    field("adam_eps", self.adam_eps);
    field("adam_weight_decay", self.adam_weight_decay);
  }

  bool has_momentum() const { return true; }
  Slots slots() const { return {"exp_avg", "exp_avg_sq", "momentum_buffer"}; }

  // Formula for parameters that are not matrices.
  void with_formula(const OptimizerStep& step, auto&& run) const {
    OptimizerStep adam_step = step;
    adam_step.learning_rate *= adam_rate;
    adam_step.momentum.reset();
    Adam{adam_beta1, adam_beta2, adam_eps, adam_weight_decay, false, true}.with_formula(adam_step, run);
  }

  // Update a matrix. value, gradient, velocity: f32 [rows, columns]; value and velocity are updated in place.
  void step_matrix(const OptimizerStep& step, at::Tensor value, const at::Tensor& gradient, at::Tensor velocity) const;

 private:
  at::Tensor orthogonalised(const at::Tensor& matrix) const;
};

}  // namespace mnistcnn::train
