#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/plan/compiler.h"

// Assigns offsets to all memory of a plan. With batch norm a step passes over all blocks several times, so its speed
// depends on whether the memory of all blocks fits the last-level cache. Therefore tensors with disjoint lifetimes
// share memory.
namespace mnistcnn::engine::lanes {

// Tensors that are views of another tensor's memory in a different shape: (view, base).
struct Aliases : std::vector<std::pair<Tensor*, Tensor*>> {
  Tensor* base_of(Tensor* tensor) const;
};

// A buffer that is needed from moment `first` to moment `last`, both included.
struct Lifetime {
  int first = 0, last = 0;
  std::int64_t size = 0;
};

// Offsets for buffers, so that those with overlapping lifetimes do not overlap in memory; total: the size of all.
struct MemoryAssignment {
  std::vector<std::int64_t> offsets;
  std::int64_t total = 0;
};
MemoryAssignment assign_offsets(const std::vector<Lifetime>& lifetimes);

void plan_memory(ExecutionPlan& plan, const Aliases& aliases);

}  // namespace mnistcnn::engine::lanes
