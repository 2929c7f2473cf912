#pragma once
#include "mnistcnn/common/thread_pool.h"

namespace mnistcnn::engine {

// Sets the number of threads of PyTorch's operations on the calling thread, until it is destroyed. 0: no change.
//
// at::set_num_threads would also change the number for all threads that call PyTorch for the first time meanwhile.
// Backward passes on the CPU run on the thread that calls autograd, so they use this number too. In the child of a fork
// the number is 1: a parallel operation would wait forever for the OpenMP threads of the parent.
class ScopedOpenMpThreads {
 public:
  explicit ScopedOpenMpThreads(int threads);
  ~ScopedOpenMpThreads();
  ScopedOpenMpThreads(const ScopedOpenMpThreads&) = delete;
  ScopedOpenMpThreads& operator=(const ScopedOpenMpThreads&) = delete;

 private:
  int before_ = 0, mkl_before_ = 0;  // before_: 0 if nothing was changed
};

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

  const int pool_threads_, cpus_;
  int runs_without_ = 0;  // number of runs left on the pool's own threads after a delay
};

}  // namespace mnistcnn::engine
