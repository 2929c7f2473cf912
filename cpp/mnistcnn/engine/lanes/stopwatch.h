#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/profile.h"

namespace mnistcnn::engine::lanes {

struct Plan;

enum class Pass : std::uint8_t { kForward, kInputGradients, kWeightGradients };
inline constexpr int kPasses = 3;

// Work that belongs to no operation.
enum Chore : int { kIdle, kGather, kPacking, kLoss, kReduction, kChores };

// What time is spent on: a chore, or an operation's work in one direction.
struct Work {
  int owner = kIdle;  // a Chore, or kChores + the operation's index
  Pass pass = Pass::kForward;
};

inline Work work_of(int operation, Pass pass) { return {kChores + operation, pass}; }

// Counts what each thread spends on what. A step without one pays for a null pointer's tests only.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kCompletion = -1;  // instead of a thread's number: whoever completes a phase

  Stopwatch(int threads, int operations)
      : rows_(static_cast<std::size_t>(threads + 1),
              {Clock::now(),
               {},
               std::vector<Clock::duration>(static_cast<std::size_t>(kChores + operations) * kPasses)}) {}

  // From now on this thread works on something else. Returns what it worked on.
  Work change(int thread, Work work) {
    Row& row = rows_[static_cast<std::size_t>(thread + 1)];
    const Clock::time_point now = Clock::now();
    row.spent[index(row.work)] += now - row.since;
    row.since = now;
    const Work before = row.work;
    row.work = work;
    return before;
  }
  Work current(int thread) const { return rows_[static_cast<std::size_t>(thread + 1)].work; }

  void add_step(Clock::duration duration) {
    ++steps_;
    in_steps_ += duration;
  }

  // Of all threads
  double seconds(Work work) const {
    double sum = 0;
    for (const Row& row : rows_) sum += std::chrono::duration<double>(row.spent[index(work)]).count();
    return sum;
  }

  std::int64_t steps() const { return steps_; }
  double seconds_in_steps() const { return std::chrono::duration<double>(in_steps_).count(); }

 private:
  struct alignas(64) Row {
    Clock::time_point since;
    Work work;
    std::vector<Clock::duration> spent;
  };

  static std::size_t index(Work work) {
    return static_cast<std::size_t>(work.owner) * kPasses + static_cast<std::size_t>(work.pass);
  }

  std::vector<Row> rows_;
  std::int64_t steps_ = 0;
  Clock::duration in_steps_{};
};

// What it says of the operations of a plan.
StepProfile read(const Stopwatch& stopwatch, const Plan& plan);

}  // namespace mnistcnn::engine::lanes
