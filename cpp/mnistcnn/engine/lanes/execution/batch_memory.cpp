#include "mnistcnn/engine/lanes/execution/batch_memory.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace mnistcnn::engine::lanes {

namespace {

// The arena shrinks after kCallsBeforeShrinking consecutive calls that needed less than 1 / kShrinkRatio of it. A
// program that alternates between large and small batches keeps its arena, because allocating one costs a page fault
// for each page. Arenas of up to kKeptBytes never shrink.
constexpr int kCallsBeforeShrinking = 256;
constexpr std::size_t kShrinkRatio = 4;
constexpr std::size_t kKeptBytes = std::size_t{64} << 20;

std::int64_t sum(std::span<const std::int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
}

}  // namespace

BatchMemory::Capacity BatchMemory::capacity_for(const BatchContext& batch, MemoryPer memory_per) const {
  // An odd number of blocks, so that rows of the linear layers' matrices begin in different cache sets, see
  // odd_cache_lines. 2-D Winograd shares the capacity and does not need this.
  return {memory_per == MemoryPer::kThread ? threads_ : batch.blocks, plan_.batch_size > 0 ? batch.blocks | 1 : 0,
          batch.partial_groups()};
}

BatchMemory::Capacity BatchMemory::largest(const Capacity& a, const Capacity& b) {
  return {std::max(a.slots, b.slots), std::max(a.batch_blocks, b.batch_blocks), std::max(a.partials, b.partials)};
}

BatchMemory::Sizes BatchMemory::region_sizes(const Capacity& capacity) const {
  return {capacity.slots * plan_.block_size, plan_.batch_size * capacity.batch_blocks, threads_ * plan_.thread_size,
          plan_.packed_size, capacity.partials * plan_.partial_size};
}

std::size_t BatchMemory::bytes_for(const Capacity& capacity) const {
  return Arena::bytes_for(sum(region_sizes(capacity)));
}

std::size_t BatchMemory::bytes_for(std::int64_t images, MemoryPer memory_per) const {
  BatchContext batch;
  batch.set_images(images, threads_);
  return bytes_for(capacity_for(batch, memory_per));
}

void BatchMemory::reserve(BatchContext& batch, MemoryPer memory_per) {
  const Capacity needed = capacity_for(batch, memory_per);
  const bool fits = arena_.data() != nullptr && largest(needed, capacity_) == capacity_;
  if (fits && !count_and_check_shrinking(needed)) return;
  allocate(batch, fits ? recent_ : largest(needed, capacity_));
}

// Count the calls that need a small part of a large arena. Return whether the arena should shrink to `recent_`.
bool BatchMemory::count_and_check_shrinking(const Capacity& needed) {
  if (arena_.bytes() <= kKeptBytes || bytes_for(needed) > arena_.bytes() / kShrinkRatio) {
    small_calls_ = 0;
    return false;
  }
  recent_ = small_calls_ == 0 ? needed : largest(recent_, needed);
  return ++small_calls_ == kCallsBeforeShrinking;
}

// If the allocation fails, arena and capacity are empty, and the next call allocates only what it needs.
void BatchMemory::allocate(BatchContext& batch, const Capacity& capacity) {
  const Sizes sizes = region_sizes(capacity);
  capacity_ = {};
  small_calls_ = 0;
  arena_.resize(sum(sizes));
  capacity_ = capacity;
  batch.batch_blocks = capacity.batch_blocks;
  batch.block_size = plan_.block_size;
  batch.thread_size = plan_.thread_size;
  batch.partial_size = plan_.partial_size;
  float* memory = arena_.data();
  float** const regions[] = {&batch.block_memory, &batch.batch_memory, &batch.thread_memory, &batch.packed,
                             &batch.partials};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    *regions[i] = memory;
    memory += sizes[i];
  }
}

}  // namespace mnistcnn::engine::lanes
