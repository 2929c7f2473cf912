#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mnistcnn::metrics {

enum class OutputScale { kLogits, kLogProbabilities };

// Metrics of the outputs of a network on a labelled data set.
struct Scores {
  double loss_sum = 0;  // sum over the images
  std::int64_t correct = 0;
  std::vector<std::int64_t> predictions;  // [N], class of the largest output, the first one if several are equal
  std::vector<std::int64_t> confusion;    // [classes, classes], rows are labels, columns are predictions

  std::int64_t count() const { return static_cast<std::int64_t>(predictions.size()); }
  double loss() const { return loss_sum / static_cast<double>(count()); }  // mean over the images
  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(count()); }
};

// Compute the metrics. The loss is the negative log-likelihood, summed in double. outputs: f32 [N, classes];
// labels: [N]. Throw std::invalid_argument if a label is out of range.
Scores score(std::span<const float> outputs, std::span<const std::int64_t> labels, OutputScale scale);

// Metrics of one class. A ratio with denominator 0 is NaN.
struct ClassScore {
  double precision = 0;    // fraction of correct predictions among the images predicted as this class
  double recall = 0;       // fraction of correct predictions among the images of this class
  double f1 = 0;           // harmonic mean of precision and recall
  std::int64_t count = 0;  // number of images of this class
};

// Return the metrics of each class. confusion: [classes, classes], as in Scores.
std::vector<ClassScore> class_scores(std::span<const std::int64_t> confusion, std::size_t classes);

}  // namespace mnistcnn::metrics
