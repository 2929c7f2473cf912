#pragma once
#include <cstdint>
#include <span>

// The arguments of LanesEngine that are a model's tensors. All are f32, contiguous; counters are i64.
namespace mnistcnn::engine::lanes {

// The tensors of a model during one call, in the order of Analysis::parameters, ::buffers and ::counters.
struct TensorPointers {
  std::span<const float* const> parameters;
  std::span<float* const> gradients;        // of the parameters; empty for calls that compute none
  std::span<float* const> buffers;          // running means and variances; empty in `backward`
  std::span<std::int64_t* const> counters;  // batches trained on by each batch norm; empty in `backward`
};

}  // namespace mnistcnn::engine::lanes
