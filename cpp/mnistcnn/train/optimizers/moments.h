#pragma once
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// First part of the update of Adam and NAdam: weight decay, and moving averages of the gradient and its square.
struct Moments {
  float decoupled_decay_factor, decay;  // decoupled weight decay, L2 penalty
  float one_minus_beta1;
  float beta2, one_minus_beta2;

  struct Settings {
    double beta1, beta2, weight_decay;
    bool decoupled_weight_decay;
  };
  static Moments of(const Settings& settings, const OptimizerStep& step) {
    const double decay = step.decayed ? settings.weight_decay : 0;
    const bool decoupled = settings.decoupled_weight_decay;
    return {.decoupled_decay_factor = static_cast<float>(decoupled ? 1 - step.learning_rate * decay : 1),
            .decay = static_cast<float>(decoupled ? 0 : decay),
            .one_minus_beta1 = static_cast<float>(1 - settings.beta1),
            .beta2 = static_cast<float>(settings.beta2),
            .one_minus_beta2 = static_cast<float>(1 - settings.beta2)};
  }

  // Return the gradient plus the L2 penalty.
  template <class Number>
  Number update(Number& value, const Number& gradient, Number& mean, Number& square) const {
    value = value * decoupled_decay_factor;
    const Number decayed = gradient + decay * value;
    mean = mean + one_minus_beta1 * (decayed - mean);
    square = beta2 * square + one_minus_beta2 * decayed * decayed;
    return decayed;
  }
};

}  // namespace mnistcnn::train
