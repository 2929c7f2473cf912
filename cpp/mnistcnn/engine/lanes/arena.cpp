#include "mnistcnn/engine/lanes/arena.h"

#include <sys/mman.h>

#include <new>

namespace mnistcnn::engine::lanes {

constexpr std::size_t kLargePage = std::size_t{2} << 20;

Arena::~Arena() { release(); }

void Arena::release() {
  if (data_ != nullptr) munmap(data_, bytes_ + kLargePage);
  data_ = nullptr;
  bytes_ = 0;
}

std::size_t Arena::bytes_of(std::int64_t count) {
  return (static_cast<std::size_t>(count) * sizeof(float) + kLargePage - 1) / kLargePage * kLargePage;
}

void Arena::resize(std::int64_t count) {
  release();
  const std::size_t bytes = bytes_of(count);
  // One page more than needed, so that a whole number of large pages can begin at a large page's boundary; the pages in
  // front of it are given back.
  void* memory = mmap(nullptr, bytes + 2 * kLargePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(memory);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(begin) % kLargePage;
  const std::size_t skip = misaligned == 0 ? 0 : kLargePage - misaligned;
  if (skip > 0) munmap(begin, skip);
  if (kLargePage > skip) munmap(begin + skip + bytes + kLargePage, kLargePage - skip);
#if defined(MADV_HUGEPAGE)
  madvise(begin + skip, bytes, MADV_HUGEPAGE);
#endif
  data_ = reinterpret_cast<float*>(begin + skip);
  bytes_ = bytes;
}

}  // namespace mnistcnn::engine::lanes
