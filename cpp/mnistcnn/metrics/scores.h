#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mnistcnn::metrics {

enum class OutputScale { kLogits, kLogProbabilities };

// The answers of a network to a labelled set.
struct Scores {
  double loss_sum = 0;  // over images
  std::int64_t correct = 0;
  std::vector<std::int64_t> predictions;  // [N]: the class of the largest output, the first one of equals
  std::vector<std::int64_t> confusion;    // [classes, classes]: rows are labels, columns are predictions

  std::int64_t count() const { return static_cast<std::int64_t>(predictions.size()); }
  double loss() const { return loss_sum / static_cast<double>(count()); }  // mean over the images
  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(count()); }
};

// outputs: f32 [N, classes]; labels: [N].
// The loss is the negative log-likelihood, summed in double.
Scores score(std::span<const float> outputs, std::span<const std::int64_t> labels, OutputScale scale);

// How well one class is recognised. A ratio without any case is NaN.
struct ClassScore {
  double precision = 0;    // fraction of the images predicted as this class that are of it
  double recall = 0;       // fraction of the images of this class that are predicted as it
  double f1 = 0;           // harmonic mean of both
  std::int64_t count = 0;  // images of this class
};

// confusion: [classes, classes], as in Scores -> one score per class
std::vector<ClassScore> class_scores(std::span<const std::int64_t> confusion, std::size_t classes);

}  // namespace mnistcnn::metrics
