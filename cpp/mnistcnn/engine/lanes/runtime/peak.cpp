#include "mnistcnn/engine/lanes/runtime/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/common/thread_pool.h"

namespace mnistcnn::engine::lanes {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRounds = 20'000;                      // of the multiply-add loop: about 0.1 ms
constexpr std::int64_t kBytesPerRun = std::int64_t{1} << 20;  // read per run, at least
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 30;     // array size per thread
using ThreadWork = std::function<void(int thread)>;

// Return a phase in which each thread calls `work` once.
common::ThreadPool::Phase phase_of(int threads, ThreadWork& work) {
  const auto call = [](void* context, int task, int) noexcept { (*static_cast<ThreadWork*>(context))(task); };
  return {threads, call, nullptr, &work};
}

// Run the phase repeatedly for `seconds` and return its shortest duration in seconds.
double shortest_phase(int threads, double seconds, ThreadWork work) {
  common::ThreadPool pool(threads);
  const common::ThreadPool::Phase phase = phase_of(threads, work);
  double best = 0;
  for (const Clock::time_point begin = Clock::now();
       best == 0 || Clock::now() - begin < std::chrono::duration<double>(seconds);) {
    const Clock::time_point start = Clock::now();
    pool.run({&phase, 1});
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = best == 0 ? took : std::min(best, took);
  }
  return best;
}

void check(int threads, double seconds) {
  if (threads < 1) throw std::invalid_argument(common::text("threads must be at least 1, got ", threads));
  if (!(seconds >= 0 && seconds <= 60))
    throw std::invalid_argument(common::text("seconds must be between 0 and 60, got ", seconds));
}

}  // namespace

double peak_flops(const KernelTable& kernels, int threads, double seconds) {
  check(threads, seconds);
  const double count = 2.0 * static_cast<double>(kernels.multiply_adds(kRounds)) * threads;
  return count / shortest_phase(threads, seconds, [&](int) { kernels.multiply_adds(kRounds); });
}

double run_multiply_adds(const KernelTable& kernels, int threads, int runs) {
  check(threads, 0);
  if (runs < 1) throw std::invalid_argument(common::text("runs must be at least 1, got ", runs));
  common::ThreadPool pool(threads);
  std::atomic<std::int64_t> multiply_adds{0};
  ThreadWork work = [&](int) { multiply_adds += kernels.multiply_adds(kRounds); };
  const std::vector<common::ThreadPool::Phase> phases(static_cast<std::size_t>(runs), phase_of(threads, work));
  pool.run(phases);
  return 2.0 * static_cast<double>(multiply_adds);
}

double phase_seconds(const KernelTable& kernels, int threads, double seconds) {
  check(threads, seconds);
  // Tasks of about a microsecond, so that every thread claims one.
  constexpr int kPhases = 1000, kTaskRounds = 200;
  ThreadWork work = [&](int) { kernels.multiply_adds(kTaskRounds); };
  common::ThreadPool many(threads), one(1);
  const auto duration_of = [&](common::ThreadPool& pool) {
    const std::vector<common::ThreadPool::Phase> phases(kPhases, phase_of(pool.threads(), work));
    const Clock::time_point start = Clock::now();
    pool.run(phases);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  // In alternation, because the speed of a shared machine changes.
  std::vector<double> differences;
  for (const Clock::time_point begin = Clock::now();
       differences.empty() || Clock::now() - begin < std::chrono::duration<double>(seconds);)
    differences.push_back(duration_of(many) - duration_of(one));
  const auto middle = differences.begin() + static_cast<std::ptrdiff_t>(differences.size() / 2);
  std::nth_element(differences.begin(), middle, differences.end());
  return std::max(0.0, *middle) / kPhases;
}

double read_bandwidth(const KernelTable& kernels, int threads, std::int64_t bytes, double seconds) {
  check(threads, seconds);
  if (bytes < 4096 || bytes > kMaxBytes)
    throw std::invalid_argument(common::text("bytes must be between 4096 and ", kMaxBytes, ", got ", bytes));
  const std::int64_t floats = bytes / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t times = std::max<std::int64_t>(1, kBytesPerRun / bytes);
  std::vector<std::vector<float>> memory(static_cast<std::size_t>(threads));
  for (std::vector<float>& each : memory) each.assign(static_cast<std::size_t>(floats), 1.0f);
  const double best = shortest_phase(threads, seconds, [&](int thread) {
    const std::vector<float>& own = memory[static_cast<std::size_t>(thread)];
    for (std::int64_t i = 0; i < times; ++i) kernels.read_floats(own.data(), floats);
  });
  return static_cast<double>(times * floats) * sizeof(float) * threads / best;
}

}  // namespace mnistcnn::engine::lanes
