#pragma once
#include <array>

#include "mnistcnn/train/optimizers/arithmetic.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.RMSprop.
struct RMSprop {
  static constexpr std::string_view kKind = "RMSprop";
  double alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;
  static void visit(auto& self, auto&& field) {
    field("alpha", self.alpha);
    field("eps", self.eps);
    field("weight_decay", self.weight_decay);
    field("momentum", self.momentum);
    field("centered", self.centered);
  }

  bool has_momentum() const { return momentum > 0; }
  Slots slots() const {
    Slots names{"square_avg"};
    if (centered) names.push_back("grad_avg");
    if (has_momentum()) names.push_back("momentum_buffer");
    return names;
  }

  template <bool kCentered, bool kMomentum>
  struct Formula {
    static constexpr std::size_t kSlots = 1 + kCentered + kMomentum;
    float rate, decay, alpha, one_minus_alpha, momentum, eps;

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      const Number decayed = gradient + decay * value;
      Number& square = state[0];
      square = alpha * square + one_minus_alpha * decayed * decayed;
      Number variance = square;
      if constexpr (kCentered) {
        Number& mean = state[1];
        mean = mean + one_minus_alpha * (decayed - mean);
        variance = not_negative(square - mean * mean);  // may be negative because of rounding
      }
      const Number direction = decayed / (square_root(variance) + eps);
      if constexpr (kMomentum) {
        Number& velocity = state[kSlots - 1];
        velocity = momentum * velocity + direction;
        value = value - rate * velocity;
      } else {
        value = value - rate * direction;
      }
    }
  };

  void with_formula(const OptimizerStep& step, auto&& run) const {
    if (centered && has_momentum()) return run(formula<true, true>(step));
    if (centered) return run(formula<true, false>(step));
    if (has_momentum()) return run(formula<false, true>(step));
    run(formula<false, false>(step));
  }

 private:
  template <bool kCentered, bool kMomentum>
  Formula<kCentered, kMomentum> formula(const OptimizerStep& step) const {
    return {.rate = static_cast<float>(step.learning_rate),
            .decay = static_cast<float>(step.decayed ? weight_decay : 0),
            .alpha = static_cast<float>(alpha),
            .one_minus_alpha = static_cast<float>(1 - alpha),
            .momentum = static_cast<float>(step.momentum.value_or(momentum)),
            .eps = static_cast<float>(eps)};
  }
};

}  // namespace mnistcnn::train
