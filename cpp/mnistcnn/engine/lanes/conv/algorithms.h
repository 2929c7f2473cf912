#pragma once
#include <concepts>
#include <cstdint>
#include <variant>

#include "mnistcnn/engine/lanes/conv/direct_convolution.h"
#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/conv/winograd_1d.h"
#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

// The algorithms that compute a convolution on one block, and their interface. conv/algorithm_selection.h selects them.
// An algorithm is a member of a std::variant, so that a call costs no virtual function.
namespace mnistcnn::engine::lanes {

// What all algorithms have: memory that one thread needs during a run, in floats.
template <class T>
concept BlockAlgorithm = requires(const T& algorithm) {
  { algorithm.workspace_size() } -> std::same_as<std::int64_t>;
};

// Outputs or input gradients: y = bias + convolution of x with packed weights. `pack` is called for each packing task
// once per step, `run` for each block. Parts of a block may be computed at the same time.
template <class T>
concept ComputesMaps = BlockAlgorithm<T> && requires(const T& algorithm, int task, const float* weights, float* packed,
                                                     View x, View y, const float* bias, float* workspace, Part part) {
  { algorithm.packed_size() } -> std::same_as<std::int64_t>;  // floats
  { algorithm.packing_tasks() } -> std::same_as<int>;
  { algorithm.packing_task_size() } -> std::same_as<std::int64_t>;  // weights
  algorithm.pack(task, weights, packed);
  algorithm.run(x, packed, bias, y, workspace, part);
};

// Weight gradients: out (+)= sum over positions and images of d * x.
template <class T>
concept ComputesWeightGradients =
    BlockAlgorithm<T> && requires(const T& algorithm, View x, View d, float* out, float* workspace, Part part) {
      { T::kPartsRepeatWork } -> std::convertible_to<bool>;  // each part repeats work that does not depend on the part
      algorithm.run(x, d, out, /*accumulate=*/true, workspace, part);
    };

template <ComputesMaps... Each>
using MapAlgorithms = std::variant<Each...>;
template <ComputesWeightGradients... Each>
using WeightGradientAlgorithms = std::variant<Each...>;

using ConvolutionAlgorithm = MapAlgorithms<DirectConvolution, Winograd1dConvolution, Winograd2dConvolution>;
using WeightGradientAlgorithm =
    WeightGradientAlgorithms<DirectWeightGradient, Winograd1dWeightGradient, Winograd2dWeightGradient>;

}  // namespace mnistcnn::engine::lanes
