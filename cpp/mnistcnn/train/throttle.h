#pragma once
#include <chrono>

namespace mnistcnn::train {

// Rate limiter for progress callbacks: `due` returns true at most every 50 ms.
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
