#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/arena.h"

// Allocation of the memory regions of a batch. Called by LanesEngine at the start of each call.
namespace mnistcnn::engine::lanes {

// Whether block memory is allocated once per block of the batch, or once per thread.
enum class MemoryPer { kBlock, kThread };

// The memory regions of a batch in one arena, which grows to the size of the largest batch.
class BatchMemory {
 public:
  BatchMemory(const ExecutionPlan& plan, int threads) : plan_(plan), threads_(threads) {}

  // Allocate memory for the batch and set its regions. The contents are lost if the arena grows.
  void reserve(BatchContext& batch, MemoryPer memory_per);

  std::size_t bytes() const { return arena_.bytes(); }
  // Return the bytes that `reserve` would allocate for a first batch of `images` images.
  std::size_t bytes_for(std::int64_t images, MemoryPer memory_per) const;

 private:
  // In floats: block memory, batch memory, thread memory, packed weights, partial gradients.
  using Sizes = std::array<std::int64_t, 5>;

  Sizes region_sizes(std::int64_t slots, std::int64_t batch_blocks, std::int64_t partials) const;

  const ExecutionPlan& plan_;
  int threads_;
  Arena arena_;
  int slots_ = 0;              // number of blocks or threads that have block memory
  std::int64_t partials_ = 0;  // copies of the partial gradients
};

}  // namespace mnistcnn::engine::lanes
