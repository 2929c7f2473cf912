#include "mnistcnn/engine/lanes/execution/batch_memory.h"

#include <algorithm>
#include <numeric>

namespace mnistcnn::engine::lanes {

BatchMemory::Sizes BatchMemory::region_sizes(std::int64_t slots, std::int64_t batch_blocks,
                                             std::int64_t partials) const {
  return {slots * plan_.block_size, plan_.batch_size * batch_blocks, threads_ * plan_.thread_size, plan_.packed_size,
          partials * plan_.partial_size};
}

std::size_t BatchMemory::bytes_for(std::int64_t images, MemoryPer memory_per) const {
  BatchContext batch;
  batch.set_images(images);
  const std::int64_t slots = memory_per == MemoryPer::kThread ? threads_ : batch.blocks;
  const Sizes sizes = region_sizes(slots, batch.blocks, batch.partial_groups());
  return Arena::bytes_for(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
}

void BatchMemory::reserve(BatchContext& batch, MemoryPer memory_per) {
  const int slots = memory_per == MemoryPer::kThread ? threads_ : batch.blocks;
  const std::int64_t partials = batch.partial_groups();
  const std::int64_t batch_blocks = plan_.batch_size > 0 ? batch.blocks : 0;
  const bool fits =
      arena_.data() != nullptr && slots <= slots_ && partials <= partials_ && batch_blocks <= batch.batch_blocks;
  if (fits) return;
  slots_ = std::max(slots_, slots);
  partials_ = std::max(partials_, partials);
  batch.batch_blocks = std::max(batch.batch_blocks, batch_blocks);
  batch.block_size = plan_.block_size;
  batch.thread_size = plan_.thread_size;
  batch.partial_size = plan_.partial_size;
  const Sizes sizes = region_sizes(slots_, batch.batch_blocks, partials_);
  arena_.resize(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
  float* memory = arena_.data();
  float** const regions[] = {&batch.block_memory, &batch.batch_memory, &batch.thread_memory, &batch.packed,
                             &batch.partials};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    *regions[i] = memory;
    memory += sizes[i];
  }
}

}  // namespace mnistcnn::engine::lanes
