#pragma once
#include <functional>

namespace mnistcnn::common {

// Function of the index of a task. It must not throw.
using Task = std::function<void(int task)>;

// Function that calls run(0), ..., run(tasks - 1), possibly on several threads at the same time, and returns when all
// calls have returned.
using ParallelFor = std::function<void(int tasks, const Task& run)>;

inline void serial_for(int tasks, const Task& run) {
  for (int task = 0; task < tasks; ++task) run(task);
}

}  // namespace mnistcnn::common
