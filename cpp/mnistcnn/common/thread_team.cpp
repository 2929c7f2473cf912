#include "mnistcnn/common/thread_team.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace mnistcnn::common {
namespace {

constexpr int kMostClaims = 1024;  // more units than this are claimed several at once
// How long a thread looks out before it sleeps: for the next phase of a run, whose other threads are at work, and for
// the next run, which may never come.
constexpr std::chrono::microseconds kSpinWithinRun{200}, kSpinBetweenRuns{50};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

class ThreadTeam::Shared {
 public:
  explicit Shared(int threads) : threads_(threads) {}

  void start() {
    workers_.reserve(static_cast<std::size_t>(threads_ - 1));
    for (int thread = 1; thread < threads_; ++thread) workers_.emplace_back([this, thread] { serve(thread); });
  }

  void stop() {
    publish(kStop);
    for (std::thread& worker : workers_) worker.join();
  }

  void run(std::span<const Phase> phases) {
    begin(phases);
    take_part(0);
  }

  void run(std::span<const Phase> phases, Lender& lender) {
    begin(phases);
    const auto take_part = [](void* self, int number) {
      const auto shared = static_cast<Shared*>(self);
      if (number < shared->threads_) shared->take_part(number);
    };
    lender.call(threads_, take_part, this);
  }

 private:
  // `current_` holds the number of the phase and how many claims it has; numbers only grow.
  static constexpr int kUnitBits = 12;
  static constexpr std::uint64_t kStop = ~std::uint64_t{0};
  static int claims_in(std::uint64_t current) { return static_cast<int>(current & ((1U << kUnitBits) - 1)); }

  void begin(std::span<const Phase> phases) {
    phases_ = phases;
    next_ = 0;
    begin_next();
  }

  // In the run that has begun, until it ends.
  void take_part(int thread) {
    std::uint64_t seen = 0;  // no phase has this number
    while (true) {
      const std::uint64_t current = wait_beyond(seen);
      if (claims_in(current) == 0) return;
      seen = current >> kUnitBits;
      work_on(current, thread);
    }
  }

  // Starts the next phase, or announces the end: a number without claims.
  void begin_next() {
    while (next_ < phases_.size() && phases_[next_].units == 0) {
      const Phase& empty = phases_[next_++];
      if (empty.completion) empty.completion(empty.context);
    }
    ++sequence_;
    if (next_ == phases_.size()) {
      // From here on everything belongs to the caller again.
      publish(sequence_ << kUnitBits);
      return;
    }
    phase_ = phases_[next_++];
    claims_ = std::min(phase_.units, kMostClaims);
    done_.store(0, std::memory_order_relaxed);
    publish(sequence_ << kUnitBits | static_cast<std::uint64_t>(claims_));
  }

  void publish(std::uint64_t current) {
    current_.store(current, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) == 0) return;
    pulse_.fetch_add(1, std::memory_order_seq_cst);
    pulse_.notify_all();
  }

  // Does what is left of the phase.
  void work_on(std::uint64_t current, int thread) {
    const std::uint64_t sequence = current >> kUnitBits;
    const int claims = claims_in(current);
    const int begin = claims * thread / threads_, end = claims * (thread + 1) / threads_;
    const bool forth = sequence % 2 == 0;
    for (int i = 0; i < end - begin; ++i) try_claim(forth ? begin + i : end - 1 - i, sequence, thread);
    // Then what others have not begun, from the far end of their share.
    for (int other = 1; other < threads_; ++other) {
      const int whose = (thread + other) % threads_;
      const int from = claims * whose / threads_, to = claims * (whose + 1) / threads_;
      for (int i = 0; i < to - from; ++i) try_claim(forth ? to - 1 - i : from + i, sequence, thread);
    }
  }

  void try_claim(int claim, std::uint64_t sequence, int thread) {
    std::atomic<std::uint64_t>& taken = taken_[static_cast<std::size_t>(claim)];
    std::uint64_t before = taken.load(std::memory_order_relaxed);
    if (before >= sequence || !taken.compare_exchange_strong(before, sequence, std::memory_order_acq_rel)) return;
    // From here until our claim counts as done, the phase can't end.
    const std::int64_t units = phase_.units, claims = claims_;
    const int first = static_cast<int>(units * claim / claims), last = static_cast<int>(units * (claim + 1) / claims);
    for (int unit = first; unit < last; ++unit) phase_.work(phase_.context, unit, thread);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 != claims) return;
    if (phase_.completion) phase_.completion(phase_.context);
    begin_next();
  }

  // Until the phase is another one.
  std::uint64_t wait_beyond(std::uint64_t sequence) {
    const auto changed = [&](std::uint64_t current) { return current >> kUnitBits != sequence; };
    const bool within_run = claims_in(current_.load(std::memory_order_relaxed)) > 0;
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
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    while (true) {
      const std::uint32_t pulse = pulse_.load(std::memory_order_seq_cst);
      const std::uint64_t current = current_.load(std::memory_order_seq_cst);
      if (changed(current)) {
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
        return current;
      }
      pulse_.wait(pulse, std::memory_order_seq_cst);
    }
  }

  void serve(int thread) {
    std::uint64_t seen = 0;
    while (true) {
      const std::uint64_t current = wait_beyond(seen);
      if (current == kStop) return;
      seen = current >> kUnitBits;
      work_on(current, thread);
    }
  }

  const int threads_;
  // Written by whoever begins a phase, read by those who have claimed a part of it.
  std::span<const Phase> phases_;
  std::size_t next_ = 0;
  std::uint64_t sequence_ = 0;
  Phase phase_;
  int claims_ = 0;

  alignas(128) std::atomic<std::uint64_t> current_{0};
  alignas(128) std::atomic<int> done_{0};
  alignas(128) std::atomic<std::uint32_t> pulse_{0};
  std::atomic<int> sleeping_{0};
  alignas(128) std::array<std::atomic<std::uint64_t>, kMostClaims> taken_{};
  std::vector<std::thread> workers_;
};

ThreadTeam::ThreadTeam(int threads) : threads_(std::max(1, threads)), process_(getpid()) {}

ThreadTeam::~ThreadTeam() {
  if (!own_) return;
  if (process_ == getpid()) {
    own_->stop();
  } else {
    static_cast<void>(own_.release());  // its threads are the parent's
  }
}

void ThreadTeam::restart_after_fork() {
  static_cast<void>(own_.release());
  lent_.reset();  // perhaps in the midst of a run of another thread
  process_ = getpid();
}

void ThreadTeam::run(std::span<const Phase> phases, Lender* lender) {
  if (process_ != getpid()) restart_after_fork();
  if (threads_ == 1) {
    bool forth = false;
    for (const Phase& phase : phases) {
      for (int i = 0; i < phase.units; ++i) phase.work(phase.context, forth ? i : phase.units - 1 - i, 0);
      if (phase.completion) phase.completion(phase.context);
      forth = !forth;
    }
    return;
  }
  if (phases.empty()) return;
  if (lender != nullptr) {
    if (!lent_) lent_ = std::make_unique<Shared>(threads_);
    return lent_->run(phases, *lender);
  }
  if (!own_) {
    own_ = std::make_unique<Shared>(threads_);
    own_->start();
  }
  own_->run(phases);
}

}  // namespace mnistcnn::common
