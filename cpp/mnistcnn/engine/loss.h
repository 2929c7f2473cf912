#pragma once

namespace mnistcnn::engine {

// What a network's outputs mean decides which loss fits them.
enum class LossKind {
  kNegativeLogLikelihood,  // outputs are log-probabilities
  kCrossEntropy,           // outputs are logits
};

struct Loss {
  LossKind kind = LossKind::kCrossEntropy;
  double label_smoothing = 0;  // the share of the target spread evenly over all classes
};

}  // namespace mnistcnn::engine
