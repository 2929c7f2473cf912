#pragma once

namespace mnistcnn::engine {

// The loss that fits the meaning of the outputs.
enum class LossKind {
  kNegativeLogLikelihood,  // outputs are log-probabilities
  kCrossEntropy,           // outputs are logits
};

struct Loss {
  LossKind kind = LossKind::kCrossEntropy;
  double label_smoothing = 0;  // share of the target that is spread evenly over all classes
};

}  // namespace mnistcnn::engine
