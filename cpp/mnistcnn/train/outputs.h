#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "mnistcnn/engine/loss.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::train {

enum class OutputKind { kLogits, kLogProbabilities, kProbabilities };

// What the outputs of a network are: it ends in LogSoftmax, in Softmax, or in logits.
OutputKind output_kind(const network::Network& network);

// The loss that fits. Throw std::invalid_argument for probabilities: a loss needs their logarithms.
engine::LossKind fitting_loss(OutputKind kind);

// The number of classes. Throw std::invalid_argument unless the output of an image is a flat row.
std::int64_t class_count(const network::Network& network);

// Throw std::invalid_argument unless every label is one of the classes.
void check_labels(std::span<const std::int64_t> labels, std::int64_t classes);

// Probabilities that are 0 count as the smallest positive normal number.
at::Tensor log_of_probabilities(const at::Tensor& probabilities);

}  // namespace mnistcnn::train
