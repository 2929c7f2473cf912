#pragma once
#include "mnistcnn/train/optimizers/step.h"

namespace mnistcnn::train {

// What Adam and its relatives do first: weight decay, and running means of the gradient and of its square.
struct Moments {
  float shrink, decay;            // decoupled and ordinary weight decay
  float fresh;                    // the gradient's share in the mean
  float keep_square, add_square;  // the shares of past and gradient in the square

  struct Settings {
    double beta1, beta2, weight_decay;
    bool decoupled_weight_decay;
  };
  static Moments of(const Settings& settings, const Step& step) {
    const double decay = step.decayed ? settings.weight_decay : 0;
    const bool decoupled = settings.decoupled_weight_decay;
    return {.shrink = static_cast<float>(decoupled ? 1 - step.learning_rate * decay : 1),
            .decay = static_cast<float>(decoupled ? 0 : decay),
            .fresh = static_cast<float>(1 - settings.beta1),
            .keep_square = static_cast<float>(settings.beta2),
            .add_square = static_cast<float>(1 - settings.beta2)};
  }

  // Returns the gradient with its decay.
  template <class Number>
  Number update(Number& value, const Number& gradient, Number& mean, Number& square) const {
    value = value * shrink;
    const Number decayed = gradient + decay * value;
    mean = mean + fresh * (decayed - mean);
    square = keep_square * square + add_square * decayed * decayed;
    return decayed;
  }
};

}  // namespace mnistcnn::train
