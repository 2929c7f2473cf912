#pragma once
#include <array>
#include <cmath>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

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
    float shrink, decay;             // decoupled and ordinary weight decay
    float fresh;                     // the gradient's share in the mean
    float keep_square, add_square;   // the shares of past and gradient in the square
    float correction, eps;           // of the square, which starts from zero
    float gradient_size, mean_size;  // how far to go along each

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      value = value * shrink;
      const Number decayed = gradient + decay * value;
      Number& mean = state[0];
      Number& square = state[1];
      mean = mean + fresh * (decayed - mean);
      square = keep_square * square + add_square * decayed * decayed;
      value = value - (gradient_size * decayed + mean_size * mean) / (square_root(square * correction) + eps);
    }
  };

  void with_formula(const Step& step, auto&& run) const {
    const double first = step.momentum.value_or(beta1), count = static_cast<double>(step.number);
    const double decay = step.decayed ? weight_decay : 0, rate = step.learning_rate;
    const double now = momentum_at(first, count), next = momentum_at(first, count + 1);
    double& product = *step.momentum_product;
    product *= now;
    run(Formula{.shrink = static_cast<float>(decoupled_weight_decay ? 1 - rate * decay : 1),
                .decay = static_cast<float>(decoupled_weight_decay ? 0 : decay),
                .fresh = static_cast<float>(1 - first),
                .keep_square = static_cast<float>(beta2),
                .add_square = static_cast<float>(1 - beta2),
                .correction = static_cast<float>(1 / (1 - std::pow(beta2, count))),
                .eps = static_cast<float>(eps),
                .gradient_size = static_cast<float>(rate * (1 - now) / (1 - product)),
                .mean_size = static_cast<float>(rate * next / (1 - product * next))});
  }

 private:
  double momentum_at(double first, double count) const {
    return first * (1 - 0.5 * std::pow(0.96, count * momentum_decay));
  }
};

}  // namespace mnistcnn::train
