#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/runtime/stopwatch.h"
#include "mnistcnn/engine/lanes/runtime/task_recorder.h"
#include "mnistcnn/engine/lanes/runtime/tensor.h"

// The state of a batch and of one of its blocks: what operations read while they run. Written by LanesEngine before
// each call. All sizes and offsets are in floats.
namespace mnistcnn::engine::lanes {

inline constexpr int kMaxPartialGroups = 32;  // copies of the partial gradients

struct BatchContext {
  const KernelTable* kernels = nullptr;
  // The model's tensors. Parameters are indexed by use (see ExecutionPlan::uses), buffers and counters as in Analysis.
  std::vector<const float*> parameters;
  std::vector<float*> gradients;
  std::span<float* const> buffers;
  std::span<std::int64_t* const> counters;
  // The batch.
  std::int64_t images = 0;
  std::int64_t first_image = 0;  // its index in the call, which can consist of several batches
  int blocks = 0;                // of 16 images; the last one may have fewer
  int parts = 1;                 // of a block; more than 1 if there are fewer blocks than threads
  bool training = false;
  // Set before the forward: whether a backward follows, and whether it computes the gradients of the images.
  bool has_backward = false, image_gradients = false;
  Randomness randomness;
  // Memory regions, see BatchMemory.
  float *block_memory = nullptr, *batch_memory = nullptr, *thread_memory = nullptr, *packed = nullptr;
  std::int64_t block_size = 0, thread_size = 0;  // per block, per thread
  std::int64_t batch_blocks = 0;                 // capacity of a row of batch memory, in blocks
  // Partial gradients of the parameters: one copy per group of consecutive blocks.
  float* partials = nullptr;
  std::int64_t partial_size = 0;
  int blocks_per_partial = 1;
  Stopwatch* stopwatch = nullptr;         // nullptr unless a profile is measured
  TaskRecorder* task_recorder = nullptr;  // nullptr unless the times of tasks are measured

  void set_images(std::int64_t count, int threads) {
    images = count;
    blocks = static_cast<int>((count + kLanes - 1) / kLanes);
    parts = std::max(1, threads / blocks);
    blocks_per_partial = (blocks + kMaxPartialGroups - 1) / kMaxPartialGroups;
  }
  int partial_groups() const { return (blocks + blocks_per_partial - 1) / blocks_per_partial; }
};

// A block of the batch, or a part of it, and the thread that computes it.
struct BlockContext {
  const BatchContext& batch;
  int index;  // of the block in the batch
  int slot;   // of its block memory: the index, or the thread if memory is allocated per thread
  int thread;
  Part part = {};

  BlockContext with_part(Part other) const { return {batch, index, slot, thread, other}; }

  // Number of images: 16, or fewer in the last block.
  int images() const {
    const std::int64_t rest = batch.images - std::int64_t{index} * kLanes;
    return static_cast<int>(rest < kLanes ? rest : kLanes);
  }
  float* block_memory(std::int64_t offset) const { return batch.block_memory + slot * batch.block_size + offset; }
  // For values that only this call of a stage reads.
  float* thread_memory(std::int64_t offset) const { return batch.thread_memory + thread * batch.thread_size + offset; }
  // For values that following stages of the phase read too. If blocks are divided, several threads compute a block, so
  // the memory belongs to the block. Then there are fewer blocks than threads.
  float* scratch_memory(std::int64_t offset) const {
    return batch.thread_memory + (batch.parts > 1 ? index : thread) * batch.thread_size + offset;
  }
  View view(const MemoryRef& ref) const {
    switch (ref.region) {
      case MemoryRef::Region::kBlock:
        return {block_memory(ref.offset), ref.plane, ref.row};
      case MemoryRef::Region::kScratch:
        return {scratch_memory(ref.offset), ref.plane, ref.row};
      case MemoryRef::Region::kNone:
        break;
    }
    return {};
  }
  // The partial gradients of this block's group at `offset`. The first block of a group overwrites them; the others
  // add, in block order.
  float* partial(std::int64_t offset) const {
    return batch.partials + (index / batch.blocks_per_partial) * batch.partial_size + offset;
  }
  bool accumulates_partial() const { return index % batch.blocks_per_partial != 0; }
};

// Attributes the thread's time to `category` until it is destroyed.
class ScopedTimer {
 public:
  ScopedTimer(const BatchContext& batch, int thread, TimeCategory category)
      : stopwatch_(batch.stopwatch), thread_(thread) {
    if (stopwatch_) before_ = stopwatch_->switch_to(thread_, category);
  }
  ~ScopedTimer() {
    if (stopwatch_) stopwatch_->switch_to(thread_, before_);
  }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  Stopwatch* stopwatch_;
  int thread_;
  TimeCategory before_;
};

}  // namespace mnistcnn::engine::lanes
