#pragma once
#include <chrono>

namespace mnistcnn::train {

// Lets a report through at most every 50 ms, so that reporting never costs what it reports on.
class Throttle {
 public:
  bool due() {
    const Clock::time_point now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return false;
    last_ = now;
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace mnistcnn::train
