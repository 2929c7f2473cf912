#include "mnistcnn/engine/lanes/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/common/thread_team.h"

namespace mnistcnn::engine::lanes {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRounds = 20'000;                      // of multiply-adds: about 0.1 ms
constexpr std::int64_t kBytesPerRun = std::int64_t{1} << 20;  // read at least so many at a time
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;    // per thread
using Thread = std::function<void(int)>;

// In which every thread calls `work` once.
common::ThreadTeam::Phase phase_of(int threads, Thread& work) {
  const auto call = [](void* context, int unit, int) { (*static_cast<Thread*>(context))(unit); };
  return {threads, call, nullptr, &work};
}

// The shortest time of a phase.
double shortest(int threads, double seconds, Thread work) {
  common::ThreadTeam team(threads);
  const common::ThreadTeam::Phase phase = phase_of(threads, work);
  double best = 0;
  for (const Clock::time_point begin = Clock::now();
       best == 0 || Clock::now() - begin < std::chrono::duration<double>(seconds);) {
    const Clock::time_point start = Clock::now();
    team.run({&phase, 1});
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = best == 0 ? took : std::min(best, took);
  }
  return best;
}

void check(int threads, double seconds) {
  if (threads < 1) throw std::invalid_argument(common::text("threads=", threads, " must be at least 1"));
  if (!(seconds >= 0 && seconds <= 60))
    throw std::invalid_argument(common::text("seconds=", seconds, " must lie between 0 and 60"));
}

}  // namespace

double peak_flops(const KernelTable& kernels, int threads, double seconds) {
  check(threads, seconds);
  const double count = 2.0 * static_cast<double>(kernels.multiply_adds(kRounds)) * threads;
  return count / shortest(threads, seconds, [&](int) { kernels.multiply_adds(kRounds); });
}

double run_multiply_adds(const KernelTable& kernels, int threads, int runs) {
  check(threads, 0);
  if (runs < 1) throw std::invalid_argument(common::text("runs=", runs, " must be at least 1"));
  common::ThreadTeam team(threads);
  std::atomic<std::int64_t> multiply_adds{0};
  Thread work = [&](int) { multiply_adds += kernels.multiply_adds(kRounds); };
  const std::vector<common::ThreadTeam::Phase> phases(static_cast<std::size_t>(runs), phase_of(threads, work));
  team.run(phases);
  return 2.0 * static_cast<double>(multiply_adds);
}

double read_bandwidth(const KernelTable& kernels, int threads, std::int64_t bytes, double seconds) {
  check(threads, seconds);
  if (bytes < 4096 || bytes > kMostBytes)
    throw std::invalid_argument(common::text("bytes=", bytes, " must lie between 4096 and ", kMostBytes));
  const std::int64_t floats = bytes / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t times = std::max<std::int64_t>(1, kBytesPerRun / bytes);
  std::vector<std::vector<float>> memory(static_cast<std::size_t>(threads));
  for (std::vector<float>& each : memory) each.assign(static_cast<std::size_t>(floats), 1.0f);
  const double best = shortest(threads, seconds, [&](int thread) {
    const std::vector<float>& own = memory[static_cast<std::size_t>(thread)];
    for (std::int64_t i = 0; i < times; ++i) kernels.read_floats(own.data(), floats);
  });
  return static_cast<double>(times * floats) * sizeof(float) * threads / best;
}

}  // namespace mnistcnn::engine::lanes
