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

// The memory regions of a batch in one arena. It grows to the size of the largest batch, and shrinks when many calls in
// a row have needed a small part of it only.
class BatchMemory {
 public:
  BatchMemory(const ExecutionPlan& plan, int threads) : plan_(plan), threads_(threads) {}

  // Allocate memory for the batch and set its regions. The contents are lost if the arena changes. Throw std::bad_alloc
  // if the system has not enough memory; calls with smaller batches may follow.
  void reserve(BatchContext& batch, MemoryPer memory_per);

  std::size_t bytes() const { return arena_.bytes(); }
  // Return the bytes that `reserve` would allocate for a first batch of `images` images.
  std::size_t bytes_for(std::int64_t images, MemoryPer memory_per) const;

 private:
  // In floats: block memory, batch memory, thread memory, packed weights, partial gradients.
  using Sizes = std::array<std::int64_t, 5>;

  // Number of copies of the regions that depend on the batch.
  struct Capacity {
    std::int64_t slots = 0;         // blocks or threads that have block memory
    std::int64_t batch_blocks = 0;  // blocks in a row of batch memory
    std::int64_t partials = 0;      // copies of the partial gradients
    bool operator==(const Capacity&) const = default;
  };

  Capacity capacity_for(const BatchContext& batch, MemoryPer memory_per) const;
  static Capacity largest(const Capacity& a, const Capacity& b);
  Sizes region_sizes(const Capacity& capacity) const;
  std::size_t bytes_for(const Capacity& capacity) const;
  bool count_and_check_shrinking(const Capacity& needed);
  void allocate(BatchContext& batch, const Capacity& capacity);

  const ExecutionPlan& plan_;
  int threads_;
  Arena arena_;
  Capacity capacity_;    // of the arena
  Capacity recent_;      // largest one that the last `small_calls_` calls needed
  int small_calls_ = 0;  // consecutive calls that needed a small part of the arena
};

}  // namespace mnistcnn::engine::lanes
