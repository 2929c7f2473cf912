#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/plan/compiler.h"

// Memory planner: assigns an offset to every tensor, gradient and buffer of a plan. Called once by the compiler.
//
// With batch norm a step passes over all blocks several times, so its speed depends on whether the memory of all blocks
// fits the last-level cache. Therefore tensors with disjoint lifetimes use the same memory. Algorithm: greedy by size,
// as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020,
// https://arxiv.org/abs/2001.03288.
namespace mnistcnn::engine::lanes {

// Tensors that view the memory of another tensor in a different shape: pairs (view, base).
struct Aliases : std::vector<std::pair<Tensor*, Tensor*>> {
  Tensor* base_of(Tensor* tensor) const;
};

// Lifetime of a buffer, from time step `first` to time step `last` inclusive, and its size in floats.
struct Lifetime {
  int first = 0, last = 0;
  std::int64_t size = 0;
};

// Offsets of buffers, and the total size of the memory. Buffers with overlapping lifetimes do not overlap in memory.
struct MemoryAssignment {
  std::vector<std::int64_t> offsets;
  std::int64_t total = 0;
};
MemoryAssignment assign_offsets(const std::vector<Lifetime>& lifetimes);

void plan_memory(ExecutionPlan& plan, const Aliases& aliases);

}  // namespace mnistcnn::engine::lanes
