#pragma once

namespace mnistcnn::engine {

// Losses that the engines compute, by the kind of outputs.
enum class LossKind {
  kNegativeLogLikelihood,  // outputs are log-probabilities
  kCrossEntropy,           // outputs are logits
};

struct Loss {
  LossKind kind = LossKind::kCrossEntropy;
  double label_smoothing = 0;  // fraction of the target distributed uniformly over all classes
};

}  // namespace mnistcnn::engine
