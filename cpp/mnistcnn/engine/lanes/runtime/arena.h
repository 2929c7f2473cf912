#pragma once
#include <cstddef>
#include <cstdint>

// Memory of the engine. Owned by execution/batch_memory, which divides it into regions.
namespace mnistcnn::engine::lanes {

// One allocation of zero-initialized floats, aligned to 2 MiB, in huge pages if the system supports them.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Replace the allocation by one of `count` zeros. If that fails, throw std::bad_alloc; nothing is allocated then.
  void resize(std::int64_t count);

  // Return the size in bytes of an allocation of `count` floats.
  static std::size_t bytes_for(std::int64_t count);

  float* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release();

  float* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace mnistcnn::engine::lanes
