#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/arena.h"

namespace mnistcnn::engine::lanes {

// Whether each block of a batch has memory of its own, or each thread for the block that it computes.
enum class MemoryPer { kBlock, kThread };

// The memory regions of a batch, in one arena that grows to the largest batch.
class BatchMemory {
 public:
  BatchMemory(const ExecutionPlan& plan, int threads) : plan_(plan), threads_(threads) {}

  // Make room for the batch and set its regions. Existing contents are lost if the arena grows.
  void reserve(BatchContext& batch, MemoryPer memory_per);

  std::size_t bytes() const { return arena_.bytes(); }
  // What `reserve` would allocate for a first batch of so many images.
  std::size_t bytes_for(std::int64_t images, MemoryPer memory_per) const;

 private:
  // Block memory, matrices of the batch, scratch memory of threads, packed weights, partial gradients; in floats.
  using Sizes = std::array<std::int64_t, 5>;

  Sizes region_sizes(std::int64_t slots, std::int64_t batch_blocks, std::int64_t partials) const;

  const ExecutionPlan& plan_;
  int threads_;
  Arena arena_;
  int slots_ = 0;              // of block memory
  std::int64_t partials_ = 0;  // copies of the gradients
};

}  // namespace mnistcnn::engine::lanes
