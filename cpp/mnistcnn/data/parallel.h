#pragma once
#include <algorithm>
#include <cstddef>
#include <thread>
#include <vector>

#include "mnistcnn/common/cores.h"

namespace mnistcnn::data {

// The number of threads that make so many images: `wanted`, or one per core if it is 0, with at least 64 images each.
inline std::size_t threads_for(std::size_t images, int wanted) {
  const auto most = static_cast<std::size_t>(wanted > 0 ? wanted : common::available_cores());
  return std::clamp<std::size_t>(images / 64, 1, std::min<std::size_t>(most, 256));
}

// Calls work(thread, begin, end) for equal parts of the range 0 to count, each in a thread of its own; thread 0 is the
// caller. `work` must not throw.
template <class Work>
void parallel_for(std::size_t count, std::size_t threads, const Work& work) {
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < threads; ++t)
    others.emplace_back(
        [&work, t, begin = count * t / threads, end = count * (t + 1) / threads] { work(t, begin, end); });
  work(std::size_t{0}, std::size_t{0}, count / threads);
}

}  // namespace mnistcnn::data
