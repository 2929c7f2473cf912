#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace mnistcnn::common {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Ask the system to use huge pages for the part of this memory that consists of whole ones. Must be called before the
// memory is first written. Without support for huge pages nothing changes.
inline void request_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto begin = reinterpret_cast<std::uintptr_t>(memory), end = begin + bytes;
  const std::uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage, last = end / kHugePage * kHugePage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace mnistcnn::common
