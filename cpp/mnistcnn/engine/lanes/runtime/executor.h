#pragma once
#include <vector>

#include "mnistcnn/common/thread_pool.h"
#include "mnistcnn/engine/lanes/runtime/program.h"

// Execution of a program on the thread pool. Called by LanesEngine once per call.
namespace mnistcnn::engine::lanes {

// Whether the memory of a block is read after its phase.
enum class BlockMemory {
  kTemporary,  // no; if the program has only one per-block phase, memory is allocated per thread, not per block
  kKept,       // yes, by another program: the backward reads the memory of the forward
};

// Groups the stages of a program into phases, one per barrier, and runs them on a thread pool.
class Executor {
 public:
  Executor(Program program, BlockMemory block_memory);
  Executor(const Executor&) = delete;  // phases point to the executor
  Executor& operator=(const Executor&) = delete;

  // Whether the blocks computed by one thread can use the same memory.
  bool memory_per_thread() const { return has_one_block_phase_ && block_memory_ == BlockMemory::kTemporary; }

  // With a task recorder in `batch`, all tasks run on the calling thread.
  void execute(const BatchContext& batch, common::ThreadPool& pool,
               common::ThreadPool::BorrowedThreads* borrowed = nullptr);

 private:
  // Stages between two barriers. Its tasks are those of `parallel_for`, or the groups of blocks with common partial
  // gradients: one thread computes a group, so its additions are in block order. In a divided phase each part of a
  // group is a task.
  struct Phase {
    Executor* owner;
    std::vector<const Stage*> blocks = {};  // per-block stages; empty if there is a parallel_for
    const Stage* parallel_for = nullptr;
    std::vector<const Stage*> serial = {};  // run after the tasks, by the thread that finished the last one
    bool divided = false;
  };
  // Whether blocks are divided into parts, which requires more barriers.
  enum class Blocks { kWhole, kDivided };

  void run_recorded(TaskRecorder& recorder);
  static void run_task(void* context, int task, int thread) noexcept;
  static void complete(void* context) noexcept;
  std::vector<Phase> phases_of(Blocks blocks);
  static bool joins(const Stage& stage, const Phase& phase, Blocks blocks);
  void run_blocks(const Phase& phase, int task, int thread) const;
  int tasks(const Phase& phase) const;

  Program program_;
  BlockMemory block_memory_;
  std::vector<Phase> phases_, divided_phases_;
  std::vector<common::ThreadPool::Phase> pool_phases_;
  bool has_one_block_phase_;
  const BatchContext* batch_ = nullptr;  // during `execute`
};

}  // namespace mnistcnn::engine::lanes
