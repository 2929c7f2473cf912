#pragma once
#include <algorithm>
#include <cstddef>
#include <thread>
#include <vector>

#include "mnistcnn/common/cores.h"

namespace mnistcnn::data {

// Return the number of threads to process `images` images: at most `requested` (0: number of available cores), with at
// least 64 images per thread.
inline std::size_t threads_for(std::size_t images, int requested) {
  const auto max_threads = static_cast<std::size_t>(requested > 0 ? requested : common::available_cores());
  return std::clamp<std::size_t>(images / 64, 1, std::min<std::size_t>(max_threads, 256));
}

// Call function(thread, begin, end) for equal subranges of [0, count), each on its own thread. Thread 0 is the calling
// thread. `function` must not throw.
template <class Function>
void parallel_for(std::size_t count, std::size_t threads, const Function& function) {
  std::vector<std::jthread> workers;
  for (std::size_t t = 1; t < threads; ++t)
    workers.emplace_back(
        [&function, t, begin = count * t / threads, end = count * (t + 1) / threads] { function(t, begin, end); });
  function(std::size_t{0}, std::size_t{0}, count / threads);
}

}  // namespace mnistcnn::data
