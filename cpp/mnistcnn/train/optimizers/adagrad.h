#pragma once
#include <array>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.Adagrad.
struct Adagrad {
  static constexpr std::string_view kKind = "Adagrad";
  double lr_decay = 0, weight_decay = 0, initial_accumulator_value = 0, eps = 1e-10;
  static void visit(auto& self, auto&& field) {
    field("lr_decay", self.lr_decay);
    field("weight_decay", self.weight_decay);
    field("initial_accumulator_value", self.initial_accumulator_value);
    field("eps", self.eps);
  }

  bool has_momentum() const { return false; }
  Slots slots() const { return {"sum"}; }

  struct Formula {
    static constexpr std::size_t kSlots = 1;
    float rate, decay, eps;

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      const Number decayed = gradient + decay * value;
      Number& sum = state[0];
      sum = sum + decayed * decayed;
      value = value - rate * decayed / (square_root(sum) + eps);
    }
  };

  void with_formula(const OptimizerStep& step, auto&& run) const {
    const double rate = step.learning_rate / (1 + static_cast<double>(step.number - 1) * lr_decay);
    run(Formula{.rate = static_cast<float>(rate),
                .decay = static_cast<float>(step.decayed ? weight_decay : 0),
                .eps = static_cast<float>(eps)});
  }
};

}  // namespace mnistcnn::train
