#pragma once
#include <cstddef>
#include <cstdint>

namespace mnistcnn::engine::lanes {

// One allocation of zeroed floats, in huge pages where the system has them.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Allocate `count` floats, all zero, in place of the previous allocation.
  void resize(std::int64_t count);

  // The size of an allocation of `count` floats.
  static std::size_t bytes_for(std::int64_t count);

  float* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release();

  float* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace mnistcnn::engine::lanes
