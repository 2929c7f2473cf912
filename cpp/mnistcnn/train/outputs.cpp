#include "mnistcnn/train/outputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <variant>

#include "mnistcnn/common/label.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::train {

OutputKind output_kind(const network::Network& network) {
  const network::Layer& last = network.graph.nodes.back().layer;
  if (std::holds_alternative<network::LogSoftmax>(last)) return OutputKind::kLogProbabilities;
  return std::holds_alternative<network::Softmax>(last) ? OutputKind::kProbabilities : OutputKind::kLogits;
}

engine::LossKind fitting_loss(OutputKind kind) {
  if (kind == OutputKind::kProbabilities)
    throw std::invalid_argument(
        "no default loss for a network that ends in Softmax; end it with LogSoftmax or logits, or set the loss");
  return kind == OutputKind::kLogits ? engine::LossKind::kCrossEntropy : engine::LossKind::kNegativeLogLikelihood;
}

std::int64_t class_count(const network::Network& network) {
  const network::Shape& shape = network.analysis.nodes.back().output_shape;
  if (shape.size() != 1)
    throw std::invalid_argument(common::text("the network's output ", common::bracketed(shape),
                                             " is not flat, [classes]; add Flatten() at the end"));
  return shape[0];
}

void check_labels(std::span<const std::int64_t> labels, std::int64_t classes) {
  for (std::size_t i = 0; i < labels.size(); ++i) common::check_label(labels[i], static_cast<std::int64_t>(i), classes);
}

float log_of_probability(float probability) {
  return std::log(std::max(probability, std::numeric_limits<float>::min()));
}

}  // namespace mnistcnn::train
