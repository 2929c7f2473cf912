#pragma once
#include <memory>
#include <span>

namespace mnistcnn::common {

// Persistent thread pool that executes a sequence of phases with a barrier after each.
//
// Tasks of a phase are claimed atomically, so a delayed thread never blocks the others. Each thread starts with the
// same range of task indices in every phase (alternating direction) for cache locality. The calling thread is thread 0.
// Idle threads spin for up to 200 microseconds within a run and 50 after it, then block. Threads start at the first
// call of `run`. After fork() the child creates its own threads on first use. All threads compute a run in the
// floating-point mode of its caller.
class ThreadPool {
 public:
  // `run_task` is called once for each task. `complete` is called by the thread that finishes the last task.
  struct Phase {
    int tasks = 0;
    void (*run_task)(void* context, int task, int thread) noexcept = nullptr;
    void (*complete)(void* context) noexcept = nullptr;
    void* context = nullptr;
  };

  // External threads to run on instead of the pool's own, for example an OpenMP team that is already awake.
  class BorrowedThreads {
   public:
    virtual ~BorrowedThreads() = default;
    // Call run(context, thread) once on each of at most `threads` threads, on the calling thread as number 0, and
    // return when all calls have returned.
    virtual void run_on_each(int threads, void (*run)(void* context, int thread) noexcept, void* context) = 0;
  };

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Run the phases in order and return when the last one is complete. Must not be called concurrently.
  void run(std::span<const Phase> phases, BorrowedThreads* borrowed = nullptr);

 private:
  class Scheduler;

  void restart_after_fork();

  int threads_;
  long process_;
  std::unique_ptr<Scheduler> own_, borrowed_;  // for the pool's own and for borrowed threads
};

}  // namespace mnistcnn::common
