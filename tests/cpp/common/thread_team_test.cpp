#include "mnistcnn/common/thread_team.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <limits>
#include <thread>
#include <vector>

#include "mnistcnn/common/cores.h"

namespace {

using mnistcnn::common::ThreadTeam;

// Each phase adds to each unit what the phase before left in its neighbour: a missing barrier shows.
struct Relay {
  std::vector<long> now, next;
  int completions = 0;

  explicit Relay(int units) : now(static_cast<std::size_t>(units), 1), next(now) {}
  static void work(void* context, int unit, int) {
    auto& self = *static_cast<Relay*>(context);
    const std::size_t i = static_cast<std::size_t>(unit), n = self.now.size();
    self.next[i] = (self.now[i] + self.now[(i + 1) % n]) % 1000003;
  }
  static void complete(void* context) {
    auto& self = *static_cast<Relay*>(context);
    std::swap(self.now, self.next);
    ++self.completions;
  }
};

std::vector<long> relay(ThreadTeam& team, int units, int phases, ThreadTeam::Lender* lender = nullptr) {
  Relay relay(units);
  const std::vector<ThreadTeam::Phase> list(static_cast<std::size_t>(phases),
                                            {units, Relay::work, Relay::complete, &relay});
  team.run(list, lender);
  EXPECT_EQ(relay.completions, phases);
  return relay.now;
}

// The system counts a thread that was joined for a moment longer: looks again while there are more than expected.
int threads_of_this_process(int expected) {
  for (int looks_left = 2500;; --looks_left) {
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    if (count <= expected || looks_left == 0) return count;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(ThreadTeam, PhasesFollowOneAnotherWithAnyNumberOfThreads) {
  ThreadTeam alone(1);
  for (const int units : {1, 3, 8, 100, 3000}) {
    const std::vector<long> expected = relay(alone, units, 50);
    for (const int threads : {2, 3, 8}) {
      ThreadTeam team(threads);
      for (int repeat = 0; repeat < 3; ++repeat) EXPECT_EQ(relay(team, units, 50), expected) << units << " " << threads;
    }
  }
}

TEST(ThreadTeam, EmptyPhasesStillComplete) {
  ThreadTeam team(2);
  Relay relay(4);
  const std::vector<ThreadTeam::Phase> list{{0, nullptr, Relay::complete, &relay},
                                            {4, Relay::work, Relay::complete, &relay},
                                            {0, nullptr, Relay::complete, &relay}};
  team.run(list);
  team.run({});
  EXPECT_EQ(relay.completions, 3);
}

TEST(ThreadTeam, WakesSleepers) {
  ThreadTeam team(3);
  const std::vector<long> expected = relay(team, 6, 20);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(relay(team, 6, 20), expected);
}

// While one thread is held up in its unit, the others do everything else.
TEST(ThreadTeam, UnitsOfADelayedThreadAreTakenOver) {
  struct Delay {
    std::atomic<int> done{0};
    static void work(void* context, int unit, int) {
      auto& self = *static_cast<Delay*>(context);
      if (unit == 0)
        while (self.done.load() < 7) std::this_thread::yield();  // ends only if the other seven are done meanwhile
      ++self.done;
    }
  } delay;
  ThreadTeam team(2);
  const std::vector<ThreadTeam::Phase> list{{8, Delay::work, nullptr, &delay}};
  team.run(list);
  EXPECT_EQ(delay.done.load(), 8);
}

TEST(ThreadTeam, LeavesNoThreadBehind) {
  std::thread([] {}).join();                                    // a sanitizer starts a thread of its own with the first
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // and the joined one is to be forgotten
  const int before = threads_of_this_process(std::numeric_limits<int>::max());
  {
    ThreadTeam team(4);
    relay(team, 8, 5);
    EXPECT_EQ(threads_of_this_process(before + 3), before + 3);
  }
  EXPECT_EQ(threads_of_this_process(before), before);
}

// Brings so many threads, each a little later than the one before.
class SlowLender final : public ThreadTeam::Lender {
 public:
  explicit SlowLender(int brought) : brought_(brought) {}
  void call(int, void (*work)(void* context, int number), void* context) override {
    std::vector<std::thread> others;
    for (int number = 1; number < brought_; ++number)
      others.emplace_back([=] {
        std::this_thread::sleep_for(std::chrono::microseconds(100 * number));
        work(context, number);
      });
    work(context, 0);
    for (std::thread& other : others) other.join();
  }

 private:
  int brought_;
};

TEST(ThreadTeam, WorksWithAsManyThreadsAsALenderBrings) {
  ThreadTeam alone(1), team(3);
  const std::vector<long> expected = relay(alone, 12, 50);
  EXPECT_EQ(relay(team, 12, 50), expected);
  for (const int brought : {1, 2, 3, 5}) {
    SlowLender lender(brought);
    for (int repeat = 0; repeat < 5; ++repeat) EXPECT_EQ(relay(team, 12, 50, &lender), expected) << brought;
  }
  EXPECT_EQ(relay(team, 12, 50), expected);
}

TEST(ThreadTeam, StartsNoThreadsOfItsOwnWhileItBorrows) {
  std::thread([] {}).join();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const int before = threads_of_this_process(std::numeric_limits<int>::max());
  ThreadTeam team(4);
  SlowLender lender(2);
  relay(team, 8, 5, &lender);
  EXPECT_EQ(threads_of_this_process(before), before);
  relay(team, 8, 5);
  EXPECT_EQ(threads_of_this_process(before + 3), before + 3);
}

#if !defined(__SANITIZE_THREAD__)
TEST(ThreadTeam, WorksInTheChildOfAFork) {
  ThreadTeam team(3);
  const std::vector<long> expected = relay(team, 8, 20);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);  // a child that hangs dies
    _exit(relay(team, 8, 20) == expected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(relay(team, 8, 20), expected);
}
#endif

TEST(Cores, AtLeastOneAndNoMoreThanTheMachineHas) {
  const int cores = mnistcnn::common::available_cores();
  EXPECT_GE(cores, 1);
  EXPECT_LE(cores, static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
}

}  // namespace
