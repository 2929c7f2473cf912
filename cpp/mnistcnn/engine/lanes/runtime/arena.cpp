#include "mnistcnn/engine/lanes/runtime/arena.h"

#include <sys/mman.h>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/huge_pages.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::engine::lanes {

using common::kHugePage;

Arena::~Arena() { release(); }

void Arena::release() {
  if (data_ != nullptr) munmap(data_, bytes_ + kHugePage);
  data_ = nullptr;
  bytes_ = 0;
}

std::size_t Arena::bytes_for(std::int64_t count) {
  return (static_cast<std::size_t>(count) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
}

void Arena::resize(std::int64_t count) {
  release();
  const std::size_t bytes = bytes_for(count);
  // Map two pages more than needed: the memory begins at a boundary of a huge page, and one page follows it. The
  // rest is unmapped.
  void* memory = mmap(nullptr, bytes + 2 * kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw common::OutOfMemoryError(
        common::text("the lanes engine could not allocate ", bytes >> 20, " MiB; use a smaller batch"));
  char* const begin = static_cast<char*>(memory);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
  const std::size_t skip = misaligned == 0 ? 0 : kHugePage - misaligned;
  if (skip > 0) munmap(begin, skip);
  if (kHugePage > skip) munmap(begin + skip + bytes + kHugePage, kHugePage - skip);
  common::request_huge_pages(begin + skip, bytes);
  data_ = reinterpret_cast<float*>(begin + skip);
  bytes_ = bytes;
}

}  // namespace mnistcnn::engine::lanes
