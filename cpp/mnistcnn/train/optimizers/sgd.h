#pragma once
#include <array>
#include <stdexcept>

#include "mnistcnn/common/text.h"
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// torch.optim.SGD.
struct Sgd {
  static constexpr std::string_view kKind = "SGD";
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  static void visit(auto& self, auto&& field) {
    field("momentum", self.momentum);
    field("dampening", self.dampening);
    field("weight_decay", self.weight_decay);
    field("nesterov", self.nesterov);
  }

  void check() const {
    if (nesterov && (momentum <= 0 || dampening != 0))
      throw std::invalid_argument(common::text("nesterov=True requires momentum above 0 and dampening=0, got momentum=",
                                               momentum, " and dampening=", dampening));
  }
  bool has_momentum() const { return momentum != 0; }
  Slots slots() const { return has_momentum() ? Slots{"momentum_buffer"} : Slots{}; }

  struct PlainFormula {
    static constexpr std::size_t kSlots = 0;
    float rate, decay;

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>&) const {
      value = value - rate * (gradient + decay * value);
    }
  };

  struct MomentumFormula {
    static constexpr std::size_t kSlots = 1;
    float rate, decay, momentum, gradient_weight;
    float gradient_factor, velocity_factor;  // direction = gradient_factor * gradient + velocity_factor * velocity

    template <class Number>
    void operator()(Number& value, const Number& gradient, std::array<Number, kSlots>& state) const {
      const Number decayed = gradient + decay * value;
      Number& velocity = state[0];
      velocity = momentum * velocity + gradient_weight * decayed;
      value = value - rate * (gradient_factor * decayed + velocity_factor * velocity);
    }
  };

  void with_formula(const OptimizerStep& step, auto&& run) const {
    const auto rate = static_cast<float>(step.learning_rate);
    const auto decay = static_cast<float>(step.decayed ? weight_decay : 0);
    if (!has_momentum()) return run(PlainFormula{rate, decay});
    const auto current_momentum = static_cast<float>(step.momentum.value_or(momentum));
    const auto gradient_weight = static_cast<float>(step.number == 1 ? 1 : 1 - dampening);
    run(MomentumFormula{rate, decay, current_momentum, gradient_weight, nesterov ? 1.0F : 0.0F,
                        nesterov ? current_momentum : 1.0F});
  }
};

}  // namespace mnistcnn::train
