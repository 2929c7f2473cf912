#pragma once
#include <cstdint>
#include <span>

#include "mnistcnn/engine/loss.h"
#include "mnistcnn/network/tensors.h"

// The outputs of classifiers: logits, log-probabilities or probabilities.
namespace mnistcnn::train {

enum class OutputKind { kLogits, kLogProbabilities, kProbabilities };

// Return the kind of outputs, determined by the last layer: LogSoftmax, Softmax, or any other (logits).
OutputKind output_kind(const network::Network& network);

// Return the default loss. Throw std::invalid_argument for probabilities: the losses require their logarithms.
engine::LossKind fitting_loss(OutputKind kind);

// Return the number of classes. Throw std::invalid_argument unless the output has the shape [classes].
std::int64_t class_count(const network::Network& network);

// Throw std::invalid_argument unless all labels are in [0, classes).
void check_labels(std::span<const std::int64_t> labels, std::int64_t classes);

// Return the logarithm. The probability is clamped to the smallest positive normal float, so the result is finite.
float log_of_probability(float probability);

}  // namespace mnistcnn::train
