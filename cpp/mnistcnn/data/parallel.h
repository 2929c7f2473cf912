#pragma once
#include <algorithm>
#include <cstddef>
#include <exception>
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
// thread. If calls throw, rethrow the exception of the first of their threads after all threads have ended.
template <class Function>
void parallel_for(std::size_t count, std::size_t threads, const Function& function) {
  std::vector<std::exception_ptr> errors(threads);
  const auto run = [&](std::size_t thread) noexcept {
    try {
      function(thread, count * thread / threads, count * (thread + 1) / threads);
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> workers;
    for (std::size_t thread = 1; thread < threads; ++thread) workers.emplace_back(run, thread);
    run(0);
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace mnistcnn::data
