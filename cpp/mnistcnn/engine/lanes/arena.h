#pragma once
#include <cstddef>
#include <cstdint>

namespace mnistcnn::engine::lanes {

// One piece of zeroed memory, in large pages where the system has them.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Room for `count` floats, all zero. What was there is gone.
  void resize(std::int64_t count);

  // What room for `count` floats takes.
  static std::size_t bytes_of(std::int64_t count);

  float* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release();

  float* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace mnistcnn::engine::lanes
