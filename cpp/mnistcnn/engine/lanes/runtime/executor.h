#pragma once
#include <vector>

#include "mnistcnn/common/thread_pool.h"
#include "mnistcnn/engine/lanes/runtime/program.h"

namespace mnistcnn::engine::lanes {

// Who reads the memory of a block after its phase.
enum class BlockMemory {
  kTemporary,  // no one; if the program has a single phase of blocks, memory is allocated per thread, not per block
  kKept,       // another program continues with it
};

// Groups the stages of a program into phases, split at its barriers, and runs them on a thread pool.
class Executor {
 public:
  Executor(Program program, BlockMemory block_memory);

  // Whether the blocks of one thread may share memory, because nothing is read after a block's only phase.
  bool memory_per_thread() const { return block_phases_ <= 1 && block_memory_ == BlockMemory::kTemporary; }

  void execute(const BatchContext& batch, common::ThreadPool& pool,
               common::ThreadPool::BorrowedThreads* borrowed = nullptr);

 private:
  // A task is a group of blocks that share partial gradients, or a task of the parallel_for.
  struct Phase {
    Executor* owner;
    std::vector<const Stage*> blocks;     // per block, or
    const Stage* parallel_for = nullptr;  // this one
    std::vector<const Stage*> serial;     // afterwards
  };

  static void run_task(void* context, int task, int thread) noexcept;
  static void complete(void* context) noexcept;
  void add_stage(const Stage& stage);
  void run_blocks(const Phase& phase, int group, int thread) const;
  int tasks(const Phase& phase) const;

  Program program_;
  BlockMemory block_memory_;
  std::vector<Phase> phases_;
  std::vector<common::ThreadPool::Phase> pool_phases_;
  int block_phases_ = 0;
  const BatchContext* batch_ = nullptr;  // during `execute`
};

}  // namespace mnistcnn::engine::lanes
