#pragma once
#include "mnistcnn/common/thread_pool.h"

namespace mnistcnn::engine {

// Runs the tasks of the thread pool on the OpenMP threads of PyTorch during a user's own training loop. After each
// parallel operation of PyTorch, such as the backward of the loss, these threads spin for milliseconds and occupy their
// cores.
//
// They are borrowed if there are as many of them as pool threads. An OpenMP region ends when all its threads have
// arrived, so a preempted thread delays it; after such a delay the pool uses its own threads for a number of runs. The
// pool also uses its own threads if the numbers differ. If both teams together exceed the cores, the OpenMP threads are
// paused first. The next parallel operation of PyTorch restarts them (about 50 microseconds per thread).
class OpenMpThreads final : private common::ThreadPool::BorrowedThreads {
 public:
  explicit OpenMpThreads(int pool_threads);

  // Return the threads for the next run of the pool, nullptr for the pool's own. Must be called before each run.
  common::ThreadPool::BorrowedThreads* borrow();

 private:
  void run_on_each(int threads, void (*run)(void* context, int thread) noexcept, void* context) override;

  const int pool_threads_, cores_;
  int runs_without_ = 0;  // number of runs left on the pool's own threads after a delay
};

}  // namespace mnistcnn::engine
