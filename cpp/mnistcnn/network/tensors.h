#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "mnistcnn/network/analysis.h"

namespace mnistcnn::network {

struct Network {
  Graph graph;
  Analysis analysis;
};

// The tensors of a model, in the order of Analysis. They are references: as long as this lives, the memory of the
// tensors does, whatever the owner of the model does meanwhile.
struct Tensors {
  std::vector<at::Tensor> parameters;  // f32
  std::vector<at::Tensor> buffers;     // f32, running means and variances
  std::vector<at::Tensor> counters;    // i64 scalars, batches seen by each batch norm

  at::Device device() const { return parameters.empty() ? at::Device(at::kCPU) : parameters.front().device(); }
};

// New tensors on the CPU, initialised as PyTorch does by default (the same distributions, not the same numbers).
Tensors initialise(const Graph& graph, const Analysis& analysis, std::uint64_t seed);

// Throw std::invalid_argument unless an engine can read and write the memory of these tensors directly: ordinary
// tensors of the number, type and shape that the analysis tells, all on one device, backed by enough memory.
void check(const Tensors& tensors, const Analysis& analysis);

// Tell autograd that the values of a tensor were written past it, so that it refuses an outdated backward.
void mark_as_written(const at::Tensor& tensor);

}  // namespace mnistcnn::network
