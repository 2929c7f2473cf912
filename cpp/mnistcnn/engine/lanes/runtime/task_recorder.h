#pragma once
#include <chrono>
#include <vector>

#include "mnistcnn/engine/profile.h"

// Duration of every task of training steps. Written by the Executor.
namespace mnistcnn::engine::lanes {

class TaskRecorder {
 public:
  using Clock = std::chrono::steady_clock;

  void begin_step() { steps_.emplace_back(); }

  // Record a task that began at `start` and ends now.
  void add(int phase, int task, Clock::time_point start) {
    steps_.back().push_back({phase, task, std::chrono::duration<double>(Clock::now() - start).count()});
  }

  const std::vector<StepTasks>& steps() const { return steps_; }

 private:
  std::vector<StepTasks> steps_;
};

}  // namespace mnistcnn::engine::lanes
