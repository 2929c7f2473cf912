#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

// Time measurement by operation during training steps. Read by execution/profile.
namespace mnistcnn::engine::lanes {

enum class Pass : std::uint8_t { kForward, kInputGradients, kWeightGradients };
inline constexpr int kPasses = 3;

// Work outside of the operations.
enum Overhead : int { kIdle, kGather, kPacking, kLoss, kReduction, kOverheads };

// The category that time is attributed to: an overhead, or one pass of an operation.
struct TimeCategory {
  int owner = kIdle;  // an Overhead, or kOverheads + the operation's index
  Pass pass = Pass::kForward;
};

inline TimeCategory time_category(int operation, Pass pass) { return {kOverheads + operation, pass}; }

class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kSerialStage = -1;  // thread index under which the time of serial stages is recorded

  Stopwatch(int threads, int operations)
      : threads_(static_cast<std::size_t>(threads + 1),
                 {Clock::now(),
                  {},
                  std::vector<Clock::duration>(static_cast<std::size_t>(kOverheads + operations) * kPasses)}) {}

  // Attribute the thread's time from now on to `category`. Return the previous category.
  TimeCategory switch_to(int thread, TimeCategory category) {
    ThreadTimes& times = of(thread);
    const Clock::time_point now = Clock::now();
    times.spent[index(times.category)] += now - times.since;
    times.since = now;
    const TimeCategory before = times.category;
    times.category = category;
    return before;
  }
  TimeCategory current(int thread) const { return threads_[static_cast<std::size_t>(thread + 1)].category; }

  void add_step(Clock::duration duration) {
    ++steps_;
    in_steps_ += duration;
  }

  // Return the time of a category, summed over all threads.
  double seconds(TimeCategory category) const {
    double sum = 0;
    for (const ThreadTimes& times : threads_)
      sum += std::chrono::duration<double>(times.spent[index(category)]).count();
    return sum;
  }

  std::int64_t steps() const { return steps_; }
  double seconds_in_steps() const { return std::chrono::duration<double>(in_steps_).count(); }

 private:
  struct alignas(64) ThreadTimes {
    Clock::time_point since;
    TimeCategory category;
    std::vector<Clock::duration> spent;  // by `index`
  };

  static std::size_t index(TimeCategory category) {
    return static_cast<std::size_t>(category.owner) * kPasses + static_cast<std::size_t>(category.pass);
  }
  ThreadTimes& of(int thread) { return threads_[static_cast<std::size_t>(thread + 1)]; }

  std::vector<ThreadTimes> threads_;
  std::int64_t steps_ = 0;
  Clock::duration in_steps_{};
};

}  // namespace mnistcnn::engine::lanes
