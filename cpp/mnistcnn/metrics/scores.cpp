#include "mnistcnn/metrics/scores.h"

#include <algorithm>
#include <cmath>

#include "mnistcnn/common/label.h"

namespace mnistcnn::metrics {
namespace {

double log_sum_exp(std::span<const float> logits, double largest) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace

Scores score(std::span<const float> outputs, std::span<const std::int64_t> labels, OutputScale scale) {
  const std::size_t classes = labels.empty() ? 0 : outputs.size() / labels.size();
  Scores scores;
  scores.confusion.assign(classes * classes, 0);
  scores.predictions.reserve(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::span<const float> row = outputs.subspan(i * classes, classes);
    const std::int64_t given_label = labels[i];
    common::check_label(given_label, static_cast<std::int64_t>(i), static_cast<std::int64_t>(classes));
    const auto label = static_cast<std::size_t>(given_label);
    const auto largest = std::max_element(row.begin(), row.end());
    const auto prediction = static_cast<std::size_t>(largest - row.begin());
    scores.loss_sum +=
        (scale == OutputScale::kLogits ? log_sum_exp(row, *largest) : 0.0) - static_cast<double>(row[label]);
    scores.correct += prediction == label ? 1 : 0;
    scores.predictions.push_back(static_cast<std::int64_t>(prediction));
    ++scores.confusion[label * classes + prediction];
  }
  return scores;
}

std::vector<ClassScore> class_scores(std::span<const std::int64_t> confusion, std::size_t classes) {
  std::vector<ClassScore> scores(classes);
  for (std::size_t k = 0; k < classes; ++k) {
    std::int64_t predicted = 0;
    for (std::size_t other = 0; other < classes; ++other) {
      predicted += confusion[other * classes + k];
      scores[k].count += confusion[k * classes + other];
    }
    const auto hits = static_cast<double>(confusion[k * classes + k]);
    scores[k].precision = hits / static_cast<double>(predicted);
    scores[k].recall = hits / static_cast<double>(scores[k].count);
    scores[k].f1 = 2 * hits / static_cast<double>(predicted + scores[k].count);
  }
  return scores;
}

}  // namespace mnistcnn::metrics
