#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "mnistcnn/network/analysis.h"

namespace mnistcnn::network {

// The only mutable state of a model: flat arrays in which Analysis says where each named tensor lies. The engines,
// the optimizer and PyTorch's views all see this memory.
struct Parameters {
  at::Tensor values;     // f32 [parameter_count]
  at::Tensor gradients;  // f32 [parameter_count]
  at::Tensor buffers;    // f32 [buffer_count], running means and variances
  at::Tensor counters;   // i64 [counters], batches seen by each batch norm
};

// What an engine executes and a trainer changes.
struct Model {
  Graph graph;
  Analysis analysis;
  Parameters parameters;
};

// A view of one tensor of a flat array, in the tensor's own shape.
at::Tensor view(const at::Tensor& flat, const TensorSpec& spec);

// On the CPU, initialised as PyTorch does by default (the same distributions, not the same numbers).
Parameters initialise(const Graph& graph, const Analysis& analysis, std::uint64_t seed);

// Refuses memory of another size, type or device than the analysis asks for (std::invalid_argument).
void check(const Parameters& parameters, const Analysis& analysis);

}  // namespace mnistcnn::network
