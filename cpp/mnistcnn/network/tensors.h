#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "mnistcnn/network/analysis.h"

// The tensors of a network: initialisation and checks.
namespace mnistcnn::network {

struct Network {
  Graph graph;
  Analysis analysis;
};

// The tensors of a model, in the order of Analysis. at::Tensor is a counted reference, so this struct keeps the memory
// of the tensors alive.
struct Tensors {
  std::vector<at::Tensor> parameters;  // f32
  std::vector<at::Tensor> buffers;     // f32, running means and variances
  std::vector<at::Tensor> counters;    // i64 scalars, num_batches_tracked of each norm

  // Device of the first tensor; the CPU if there is none.
  at::Device device() const {
    for (const std::vector<at::Tensor>* each : {&parameters, &buffers, &counters})
      if (!each->empty() && each->front().defined()) return each->front().device();
    return at::kCPU;
  }
};

// Return the elements of a contiguous tensor on the CPU, to read them (`const float`) or to write them (`float`).
template <class Element>
std::span<Element> elements(const at::Tensor& tensor) {
  const auto count = static_cast<std::size_t>(tensor.numel());
  if constexpr (std::is_const_v<Element>)
    return {tensor.const_data_ptr<std::remove_const_t<Element>>(), count};
  else
    return {tensor.mutable_data_ptr<Element>(), count};
}

// Create tensors on the CPU, initialised from the same distributions as PyTorch's defaults (with other random numbers).
Tensors initialise(const Graph& graph, const Analysis& analysis, std::uint64_t seed);

// Whether the memory of a tensor can be accessed directly: a plain tensor with sufficient storage.
bool has_accessible_memory(const at::Tensor& tensor);

// Throw std::invalid_argument unless an engine can access the memory of the tensors directly: plain tensors with the
// number, types and shapes of the analysis, on one device, with sufficient storage.
void check(const Tensors& tensors, const Analysis& analysis);
void check_parameters(std::span<const at::Tensor> parameters, const Analysis& analysis);

// Increment the version counter of a tensor, so that autograd raises an error if a saved tensor was modified.
void mark_as_written(const at::Tensor& tensor);

}  // namespace mnistcnn::network
