#pragma once
#include <cstdint>
#include <span>

namespace mnistcnn::engine::lanes {

// The tensors of a model for the duration of one call, in the order of Analysis::parameters, ::buffers and ::counters.
struct TensorPointers {
  std::span<const float* const> parameters;
  std::span<float* const> gradients;        // of the parameters; empty for calls that compute none
  std::span<float* const> buffers;          // running means and variances; empty in `backward`
  std::span<std::int64_t* const> counters;  // batches seen by each batch norm; empty in `backward`
};

}  // namespace mnistcnn::engine::lanes
