#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/stopwatch.h"
#include "mnistcnn/engine/lanes/value.h"
#include "mnistcnn/engine/loss.h"

namespace mnistcnn::engine::lanes {

// Everything an operation may ask about the batch that is being computed.
struct Run {
  const KernelTable* kernels = nullptr;
  // The tensors of the model. Parameters are counted by use (see Plan::uses), buffers and counters as in Analysis.
  std::vector<const float*> values;
  std::vector<float*> gradients;
  std::span<float* const> buffers;
  std::span<std::int64_t* const> counters;
  // The batch
  std::int64_t images = 0;
  int blocks = 0;
  bool training = false;
  bool image_gradients = false;  // whether the backward gives them; known since the forward
  Randomness randomness;
  // Memory
  float *block_memory = nullptr, *batch_memory = nullptr, *thread_memory = nullptr, *packed = nullptr;
  std::int64_t block_size = 0, thread_size = 0;  // floats
  std::int64_t batch_blocks = 0;                 // blocks that a row of a batch buffer has room for
  float* partials = nullptr;                     // gradients of parameters, summed over a group of blocks
  std::int64_t partial_size = 0;
  int blocks_per_partial = 1;
  Stopwatch* stopwatch = nullptr;  // where somebody wants to know what the time is spent on

  void cut(std::int64_t count, int most_partials) {
    images = count;
    blocks = static_cast<int>((count + kLanes - 1) / kLanes);
    blocks_per_partial = (blocks + most_partials - 1) / most_partials;
  }
  int partial_groups() const { return (blocks + blocks_per_partial - 1) / blocks_per_partial; }
};

// One block at work.
struct BlockRun {
  const Run& run;
  int block, slot, thread;

  // Images in this block.
  int live() const {
    const std::int64_t rest = run.images - std::int64_t{block} * kLanes;
    return static_cast<int>(rest < kLanes ? rest : kLanes);
  }
  View view(const Buffer& buffer) const {
    switch (buffer.kind) {
      case Buffer::Kind::kBlock:
        return {run.block_memory + slot * run.block_size + buffer.offset, buffer.plane, buffer.row};
      case Buffer::Kind::kThread:
        return {run.thread_memory + thread * run.thread_size + buffer.offset, buffer.plane, buffer.row};
      case Buffer::Kind::kBatch:
        return {run.batch_memory + buffer.offset * run.batch_blocks + block * kLanes, buffer.plane * run.batch_blocks,
                buffer.row};
      case Buffer::Kind::kNone:
        break;
    }
    return {};
  }
  // This block's gradients of parameters, at `offset`; the first block of a group replaces, the others add.
  float* partial(std::int64_t offset) const {
    return run.partials + (block / run.blocks_per_partial) * run.partial_size + offset;
  }
  bool adds_to_partial() const { return block % run.blocks_per_partial != 0; }
};

// Until its end, a thread's time counts for `work`.
class Timed {
 public:
  Timed(const Run& run, int thread, Work work) : stopwatch_(run.stopwatch), thread_(thread) {
    if (stopwatch_) before_ = stopwatch_->change(thread_, work);
  }
  ~Timed() {
    if (stopwatch_) stopwatch_->change(thread_, before_);
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  Stopwatch* stopwatch_;
  int thread_;
  Work before_;
};

}  // namespace mnistcnn::engine::lanes
