#pragma once
#include <array>
#include <cmath>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/optimizers/moments.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.Adam, or torch.optim.AdamW with decoupled_weight_decay.
struct Adam {
  static constexpr std::string_view kKind = "Adam";
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false, decoupled_weight_decay = false;
  static void visit(auto& self, auto&& field) {
    field("beta1", self.beta1);
    field("beta2", self.beta2);
    field("eps", self.eps);
    field("weight_decay", self.weight_decay);
    field("amsgrad", self.amsgrad);
    field("decoupled_weight_decay", self.decoupled_weight_decay);
  }

  bool has_momentum() const { return true; }
  Slots slots() const {
    return amsgrad ? Slots{"exp_avg", "exp_avg_sq", "max_exp_avg_sq"} : Slots{"exp_avg", "exp_avg_sq"};
  }

  template <bool kAmsgrad>
  struct Formula {
    static constexpr std::size_t kSlots = kAmsgrad ? 3 : 2;
    Moments moments;
    float step_size, bias_correction;  // both include the bias corrections
    float eps;

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      Number& mean = state[0];
      Number& square = state[1];
      moments.update(value, gradient, mean, square);
      if constexpr (kAmsgrad) state[2] = larger(state[2], square);
      value = value - step_size * mean / (square_root(state[kSlots - 1]) * bias_correction + eps);
    }
  };

  void with_formula(const OptimizerStep& step, auto&& run) const {
    if (amsgrad)
      run(formula<true>(step));
    else
      run(formula<false>(step));
  }

 private:
  template <bool kAmsgrad>
  Formula<kAmsgrad> formula(const OptimizerStep& step) const {
    const double momentum = step.momentum.value_or(beta1), count = static_cast<double>(step.number);
    return {.moments = Moments::of({momentum, beta2, weight_decay, decoupled_weight_decay}, step),
            .step_size = static_cast<float>(step.learning_rate / (1 - std::pow(momentum, count))),
            .bias_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, count))),
            .eps = static_cast<float>(eps)};
  }
};

}  // namespace mnistcnn::train
