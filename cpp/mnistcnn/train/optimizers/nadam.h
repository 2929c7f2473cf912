#pragma once
#include <array>
#include <cmath>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/optimizers/moments.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.NAdam.
struct NAdam {
  static constexpr std::string_view kKind = "NAdam";
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  static void visit(auto& self, auto&& field) {
    field("beta1", self.beta1);
    field("beta2", self.beta2);
    field("eps", self.eps);
    field("weight_decay", self.weight_decay);
    field("momentum_decay", self.momentum_decay);
    field("decoupled_weight_decay", self.decoupled_weight_decay);
  }

  bool has_momentum() const { return true; }
  Slots slots() const { return {"exp_avg", "exp_avg_sq"}; }

  struct Formula {
    static constexpr std::size_t kSlots = 2;
    Moments moments;
    float bias_correction, eps;                // bias correction of the squared gradient
    float gradient_step_size, mean_step_size;  // of the gradient and of its mean

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      Number& mean = state[0];
      Number& square = state[1];
      const Number decayed = moments.update(value, gradient, mean, square);
      value = value -
              (gradient_step_size * decayed + mean_step_size * mean) / (square_root(square * bias_correction) + eps);
    }
  };

  void with_formula(const OptimizerStep& step, auto&& run) const {
    const double momentum = step.momentum.value_or(beta1), count = static_cast<double>(step.number);
    const double current = momentum_at(momentum, count), next = momentum_at(momentum, count + 1);
    double& product = *step.momentum_product;
    product *= current;
    run(Formula{.moments = Moments::of({momentum, beta2, weight_decay, decoupled_weight_decay}, step),
                .bias_correction = static_cast<float>(1 / (1 - std::pow(beta2, count))),
                .eps = static_cast<float>(eps),
                .gradient_step_size = static_cast<float>(step.learning_rate * (1 - current) / (1 - product)),
                .mean_step_size = static_cast<float>(step.learning_rate * next / (1 - product * next))});
  }

 private:
  double momentum_at(double momentum, double count) const {
    return momentum * (1 - 0.5 * std::pow(0.96, count * momentum_decay));
  }
};

}  // namespace mnistcnn::train
