#pragma once
#include "mnistcnn/common/thread_pool.h"

namespace mnistcnn::engine {

// PyTorch's OpenMP threads, borrowed by the thread pool during a user's own training loop. After each parallel
// operation of PyTorch, such as the backward of the loss, they keep spinning for milliseconds in case another one
// follows.
//
// If there are as many of them as pool threads, they run the pool's tasks: they are awake, and the pool's own threads
// would find the cores taken. An OpenMP region ends when all its threads have arrived, including one that the system
// has preempted; after such a delay the pool uses its own threads for a while. It also does if the numbers differ. If
// both teams together exceed the cores, the OpenMP threads are paused first; PyTorch's next parallel operation starts
// them again (about 50 microseconds each).
class OpenMpThreads final : private common::ThreadPool::BorrowedThreads {
 public:
  explicit OpenMpThreads(int pool_threads);

  // Called before each run of the pool. Returns the threads to run on, nullptr: the pool's own.
  common::ThreadPool::BorrowedThreads* borrow();

 private:
  void run_on_each(int threads, void (*run)(void* context, int thread), void* context) override;

  const int pool_threads_, cores_;
  int runs_without_ = 0;  // remaining runs on the pool's own threads after a delay
};

}  // namespace mnistcnn::engine
