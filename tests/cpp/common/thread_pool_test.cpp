#include "mnistcnn/common/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {

using mnistcnn::common::ThreadPool;

// Each phase adds the result of a neighbouring task of the previous phase, so a missing barrier changes the results.
struct Relay {
  std::vector<long> now, next;
  int completions = 0;

  explicit Relay(int tasks) : now(static_cast<std::size_t>(tasks), 1), next(now) {}
  static void work(void* context, int task, int) noexcept {
    auto& self = *static_cast<Relay*>(context);
    const std::size_t i = static_cast<std::size_t>(task), n = self.now.size();
    self.next[i] = (self.now[i] + self.now[(i + 1) % n]) % 1000003;
  }
  static void complete(void* context) noexcept {
    auto& self = *static_cast<Relay*>(context);
    std::swap(self.now, self.next);
    ++self.completions;
  }
};

std::vector<long> relay(ThreadPool& pool, int tasks, int phases, ThreadPool::BorrowedThreads* borrowed = nullptr) {
  Relay relay(tasks);
  const std::vector<ThreadPool::Phase> list(static_cast<std::size_t>(phases),
                                            {tasks, Relay::work, Relay::complete, &relay});
  pool.run(list, borrowed);
  EXPECT_EQ(relay.completions, phases);
  return relay.now;
}

// Return the number of threads. A joined thread may still be counted for a moment, so poll while there are too many.
int threads_of_this_process(int expected) {
  for (int tries_left = 2500;; --tries_left) {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    if (count <= expected || tries_left == 0) return count;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(ThreadPool, RunsPhasesInOrderWithAnyNumberOfThreads) {
  ThreadPool single_thread_pool(1);
  for (const int tasks : {1, 3, 8, 100, 3000}) {
    const std::vector<long> expected = relay(single_thread_pool, tasks, 50);
    for (const int threads : {2, 3, 8}) {
      ThreadPool pool(threads);
      for (int repeat = 0; repeat < 3; ++repeat) EXPECT_EQ(relay(pool, tasks, 50), expected) << tasks << " " << threads;
    }
  }
}

TEST(ThreadPool, CompletesEmptyPhases) {
  ThreadPool pool(2);
  Relay relay(4);
  const std::vector<ThreadPool::Phase> list{{0, nullptr, Relay::complete, &relay},
                                            {4, Relay::work, Relay::complete, &relay},
                                            {0, nullptr, Relay::complete, &relay}};
  pool.run(list);
  pool.run({});
  EXPECT_EQ(relay.completions, 3);
}

TEST(ThreadPool, WakesBlockedThreads) {
  ThreadPool pool(3);
  const std::vector<long> expected = relay(pool, 6, 20);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(relay(pool, 6, 20), expected);
}

// While one thread is blocked in its task, the others execute all remaining tasks.
TEST(ThreadPool, OtherThreadsExecuteTheTasksOfADelayedThread) {
  struct Delay {
    std::atomic<int> done{0};
    static void work(void* context, int task, int) noexcept {
      auto& self = *static_cast<Delay*>(context);
      if (task == 0)
        while (self.done.load() < 7) std::this_thread::yield();  // ends only after the other seven tasks
      ++self.done;
    }
  } delay;
  ThreadPool pool(2);
  const std::vector<ThreadPool::Phase> list{{8, Delay::work, nullptr, &delay}};
  pool.run(list);
  EXPECT_EQ(delay.done.load(), 8);
}

TEST(ThreadPool, JoinsItsThreads) {
  std::thread([] {}).join();  // sanitizers start a thread of their own with the first one
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // wait until the joined thread is no longer counted
  const int before = threads_of_this_process(std::numeric_limits<int>::max());
  {
    ThreadPool pool(4);
    relay(pool, 8, 5);
    EXPECT_EQ(threads_of_this_process(before + 3), before + 3);
  }
  EXPECT_EQ(threads_of_this_process(before), before);
}

// Provides `count` threads, each with a longer delay than the previous one.
class SlowThreads final : public ThreadPool::BorrowedThreads {
 public:
  explicit SlowThreads(int count) : count_(count) {}
  void run_on_each(int, void (*run)(void* context, int thread) noexcept, void* context) override {
    std::vector<std::thread> others;
    for (int number = 1; number < count_; ++number)
      others.emplace_back([=] {
        std::this_thread::sleep_for(std::chrono::microseconds(100 * number));
        run(context, number);
      });
    run(context, 0);
    for (std::thread& other : others) other.join();
  }

 private:
  int count_;
};

TEST(ThreadPool, RunsOnAnyNumberOfBorrowedThreads) {
  ThreadPool single_thread_pool(1), pool(3);
  const std::vector<long> expected = relay(single_thread_pool, 12, 50);
  EXPECT_EQ(relay(pool, 12, 50), expected);
  for (const int count : {1, 2, 3, 5}) {
    SlowThreads threads(count);
    for (int repeat = 0; repeat < 5; ++repeat) EXPECT_EQ(relay(pool, 12, 50, &threads), expected) << count;
  }
  EXPECT_EQ(relay(pool, 12, 50), expected);
}

TEST(ThreadPool, StartsNoOwnThreadsWhileBorrowing) {
  std::thread([] {}).join();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const int before = threads_of_this_process(std::numeric_limits<int>::max());
  ThreadPool pool(4);
  SlowThreads threads(2);
  relay(pool, 8, 5, &threads);
  EXPECT_EQ(threads_of_this_process(before), before);
  relay(pool, 8, 5);
  EXPECT_EQ(threads_of_this_process(before + 3), before + 3);
}

// An exception on a thread of the pool would end the process.
TEST(ThreadPool, AcceptsOnlyNoexceptFunctions) {
  static_assert(!std::is_assignable_v<decltype(ThreadPool::Phase::run_task)&, void (*)(void*, int, int)>);
  static_assert(!std::is_assignable_v<decltype(ThreadPool::Phase::complete)&, void (*)(void*)>);
}

#if defined(__x86_64__)
// Each thread computes a product that is subnormal, and waits until all threads have done so.
struct SubnormalProducts {
  static constexpr int kThreads = 3;
  std::atomic<int> started{0};
  std::array<float, kThreads> products{};

  static void work(void* context, int task, int) noexcept {
    auto& self = *static_cast<SubnormalProducts*>(context);
    ++self.started;
    while (self.started < kThreads) std::this_thread::yield();
    volatile float small = 1e-20f;
    self.products[static_cast<std::size_t>(task)] = small * small;
  }
  static std::array<float, kThreads> compute(ThreadPool& pool, ThreadPool::BorrowedThreads* borrowed) {
    SubnormalProducts products;
    const ThreadPool::Phase phase{kThreads, work, nullptr, &products};
    pool.run({&phase, 1}, borrowed);
    return products.products;
  }
};

TEST(ThreadPool, ComputesInTheFloatingPointModeOfTheCaller) {
  ThreadPool pool(SubnormalProducts::kThreads);
  SlowThreads threads(SubnormalProducts::kThreads);
  for (ThreadPool::BorrowedThreads* const borrowed :
       {static_cast<ThreadPool::BorrowedThreads*>(nullptr), static_cast<ThreadPool::BorrowedThreads*>(&threads)})
    for (const bool flush : {false, true, false}) {
      _MM_SET_FLUSH_ZERO_MODE(flush ? _MM_FLUSH_ZERO_ON : _MM_FLUSH_ZERO_OFF);
      const auto products = SubnormalProducts::compute(pool, borrowed);
      _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_OFF);
      for (const float each : products) EXPECT_EQ(each == 0, flush);
    }
}

// Threads that live longer than the run, and count how often a run has changed their mode.
class ThreadsInAnotherMode final : public ThreadPool::BorrowedThreads {
 public:
  void run_on_each(int count, void (*run)(void* context, int thread) noexcept, void* context) override {
    std::vector<std::thread> others;
    for (int number = 1; number < count; ++number)
      others.emplace_back([=, this] {
        _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
        run(context, number);
        if (_MM_GET_FLUSH_ZERO_MODE() != _MM_FLUSH_ZERO_ON) ++changed;
      });
    run(context, 0);
    for (std::thread& other : others) other.join();
  }
  std::atomic<int> changed{0};
};

TEST(ThreadPool, RestoresTheFloatingPointModeOfBorrowedThreads) {
  ThreadPool pool(SubnormalProducts::kThreads);
  ThreadsInAnotherMode threads;
  for (const float each : SubnormalProducts::compute(pool, &threads)) EXPECT_GT(each, 0);
  EXPECT_EQ(threads.changed, 0);
}
#endif

#if !defined(__SANITIZE_THREAD__)
TEST(ThreadPool, WorksInAForkedChild) {
  ThreadPool pool(3);
  const std::vector<long> expected = relay(pool, 8, 20);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);  // kill the child if it hangs
    _exit(relay(pool, 8, 20) == expected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(relay(pool, 8, 20), expected);
}
#endif

}  // namespace
