#include "mnistcnn/common/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "mnistcnn/common/float_mode.h"

namespace mnistcnn::common {
namespace {

constexpr int kMaxChunks = 1024;  // a phase with more tasks is claimed in chunks of several tasks
// How long a thread spins before it blocks: while it waits for the next phase of the current run, and while it waits
// for the next run.
constexpr std::chrono::microseconds kSpinWithinRun{200}, kSpinBetweenRuns{50};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

class ThreadPool::Scheduler {
 public:
  explicit Scheduler(int threads) : threads_(threads) {}

  void start_threads() {
    workers_.reserve(static_cast<std::size_t>(threads_ - 1));
    for (int thread = 1; thread < threads_; ++thread) workers_.emplace_back([this, thread] { worker_loop(thread); });
  }

  void stop_threads() {
    publish(kStop);
    for (std::thread& worker : workers_) worker.join();
  }

  void run(std::span<const Phase> phases) {
    start_run(phases);
    work_until_done(0);
  }

  void run(std::span<const Phase> phases, BorrowedThreads& borrowed) {
    start_run(phases);
    const auto work = [](void* self, int thread) noexcept {
      const auto scheduler = static_cast<Scheduler*>(self);
      const FloatMode before = FloatMode::of_this_thread();
      if (thread < scheduler->threads_) scheduler->work_until_done(thread);
      before.apply();
    };
    borrowed.run_on_each(threads_, work, this);
  }

 private:
  // `current_` packs the sequence number of the phase, which only increases, and its number of chunks. 0 chunks means
  // that the run has ended.
  static constexpr int kChunkBits = 12;
  static constexpr std::uint64_t kStop = ~std::uint64_t{0};
  static int chunks_in(std::uint64_t current) { return static_cast<int>(current & ((1U << kChunkBits) - 1)); }

  void start_run(std::span<const Phase> phases) {
    phases_ = phases;
    float_mode_ = FloatMode::of_this_thread();
    next_ = 0;
    start_next_phase();
  }

  // Execute chunks of the current run until it ends.
  void work_until_done(int thread) {
    std::uint64_t seen = 0;  // sequence numbers start at 1
    while (true) {
      const std::uint64_t current = wait_for_change(seen);
      if (chunks_in(current) == 0) return;
      seen = current >> kChunkBits;
      run_phase(current, thread);
    }
  }

  void start_next_phase() {
    while (next_ < phases_.size() && phases_[next_].tasks == 0) {
      const Phase& empty = phases_[next_++];
      if (empty.complete) empty.complete(empty.context);
    }
    ++sequence_;
    if (next_ == phases_.size()) {
      // After this the caller may start another run.
      publish(sequence_ << kChunkBits);
      return;
    }
    phase_ = phases_[next_++];
    chunks_ = std::min(phase_.tasks, kMaxChunks);
    done_.store(0, std::memory_order_relaxed);
    publish(sequence_ << kChunkBits | static_cast<std::uint64_t>(chunks_));
  }

  void publish(std::uint64_t current) {
    current_.store(current, std::memory_order_seq_cst);
    if (blocked_.load(std::memory_order_seq_cst) == 0) return;
    wake_count_.fetch_add(1, std::memory_order_seq_cst);
    wake_count_.notify_all();
  }

  // Execute the chunks of this thread's range, then the unclaimed chunks of other threads.
  void run_phase(std::uint64_t current, int thread) {
    const std::uint64_t sequence = current >> kChunkBits;
    const int chunks = chunks_in(current);
    const int begin = chunks * thread / threads_, end = chunks * (thread + 1) / threads_;
    const bool ascending = sequence % 2 == 0;
    for (int i = 0; i < end - begin; ++i) try_chunk(ascending ? begin + i : end - 1 - i, sequence, thread);
    // Steal from the end of each range that its owner reaches last.
    for (int other = 1; other < threads_; ++other) {
      const int owner = (thread + other) % threads_;
      const int from = chunks * owner / threads_, to = chunks * (owner + 1) / threads_;
      for (int i = 0; i < to - from; ++i) try_chunk(ascending ? to - 1 - i : from + i, sequence, thread);
    }
  }

  void try_chunk(int chunk, std::uint64_t sequence, int thread) {
    std::atomic<std::uint64_t>& claimed = claimed_[static_cast<std::size_t>(chunk)];
    std::uint64_t before = claimed.load(std::memory_order_relaxed);
    if (before >= sequence || !claimed.compare_exchange_strong(before, sequence, std::memory_order_acq_rel)) return;
    // The phase cannot end before this chunk is counted as done, so its fields are stable.
    float_mode_.apply();
    const std::int64_t tasks = phase_.tasks, chunks = chunks_;
    const int first = static_cast<int>(tasks * chunk / chunks), end = static_cast<int>(tasks * (chunk + 1) / chunks);
    for (int task = first; task < end; ++task) phase_.run_task(phase_.context, task, thread);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 != chunks) return;
    if (phase_.complete) phase_.complete(phase_.context);
    start_next_phase();
  }

  // Wait until the sequence number of `current_` differs from `sequence`, and return `current_`.
  std::uint64_t wait_for_change(std::uint64_t sequence) {
    const auto changed = [&](std::uint64_t current) { return current >> kChunkBits != sequence; };
    const bool within_run = chunks_in(current_.load(std::memory_order_relaxed)) > 0;
    const std::chrono::microseconds spin = within_run ? kSpinWithinRun : kSpinBetweenRuns;
    const auto start = std::chrono::steady_clock::now();
    while (true) {
      for (int i = 0; i < 64; ++i) {
        const std::uint64_t current = current_.load(std::memory_order_acquire);
        if (changed(current)) return current;
        relax();
      }
      if (std::chrono::steady_clock::now() - start > spin) break;
    }
    blocked_.fetch_add(1, std::memory_order_seq_cst);
    while (true) {
      const std::uint32_t wake_count = wake_count_.load(std::memory_order_seq_cst);
      const std::uint64_t current = current_.load(std::memory_order_seq_cst);
      if (changed(current)) {
        blocked_.fetch_sub(1, std::memory_order_relaxed);
        return current;
      }
      wake_count_.wait(wake_count, std::memory_order_seq_cst);
    }
  }

  void worker_loop(int thread) {
    std::uint64_t seen = 0;
    while (true) {
      const std::uint64_t current = wait_for_change(seen);
      if (current == kStop) return;
      seen = current >> kChunkBits;
      run_phase(current, thread);
    }
  }

  const int threads_;
  // Written by the thread that starts a phase; read by threads that have claimed one of its chunks.
  std::span<const Phase> phases_;
  std::size_t next_ = 0;
  std::uint64_t sequence_ = 0;
  Phase phase_;
  int chunks_ = 0;
  // Floating-point mode of the thread that called `run`. All threads use it, so results do not depend on the thread
  // that executes a task.
  FloatMode float_mode_ = FloatMode::of_this_thread();

  alignas(128) std::atomic<std::uint64_t> current_{0};
  alignas(128) std::atomic<int> done_{0};
  alignas(128) std::atomic<std::uint32_t> wake_count_{0};
  std::atomic<int> blocked_{0};
  alignas(128) std::array<std::atomic<std::uint64_t>, kMaxChunks> claimed_{};  // sequence number of the latest claim
  std::vector<std::thread> workers_;
};

ThreadPool::ThreadPool(int threads) : threads_(std::max(1, threads)), process_(getpid()) {}

ThreadPool::~ThreadPool() {
  if (!own_) return;
  if (process_ == getpid()) {
    own_->stop_threads();
  } else {
    static_cast<void>(own_.release());  // the threads exist only in the parent process
  }
}

void ThreadPool::restart_after_fork() {
  static_cast<void>(own_.release());
  borrowed_.reset();  // another thread may have been running phases at the time of the fork
  process_ = getpid();
}

void ThreadPool::run(std::span<const Phase> phases, BorrowedThreads* borrowed) {
  if (process_ != getpid()) restart_after_fork();
  if (threads_ == 1) {
    bool ascending = false;
    for (const Phase& phase : phases) {
      for (int i = 0; i < phase.tasks; ++i) phase.run_task(phase.context, ascending ? i : phase.tasks - 1 - i, 0);
      if (phase.complete) phase.complete(phase.context);
      ascending = !ascending;
    }
    return;
  }
  if (phases.empty()) return;
  if (borrowed != nullptr) {
    if (!borrowed_) borrowed_ = std::make_unique<Scheduler>(threads_);
    return borrowed_->run(phases, *borrowed);
  }
  if (!own_) {
    own_ = std::make_unique<Scheduler>(threads_);
    own_->start_threads();
  }
  own_->run(phases);
}

}  // namespace mnistcnn::common
