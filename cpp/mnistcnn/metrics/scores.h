#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mnistcnn::metrics {

struct Scores {
  double loss_sum = 0;  // over images
  std::int64_t correct = 0;
  std::vector<std::int64_t> predictions;  // [N]: the class of the largest output, the first one of equals
  std::vector<std::int64_t> confusion;    // [classes, classes]: rows are labels, columns are predictions
};

// outputs: f32 [N, classes], logits, or log-probabilities when `normalised`; labels: [N].
// The loss is the negative log-likelihood, summed in double.
Scores score(std::span<const float> outputs, std::span<const std::int64_t> labels, bool normalised);

}  // namespace mnistcnn::metrics
