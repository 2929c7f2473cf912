#pragma once
#include <cstdint>
#include <span>

namespace mnistcnn::data {

// Non-owning view of a data set in memory. The creator must check that the numbers of images and labels agree. The
// reader of a label must check its range, because the owner of the memory may change it at any time.
struct ImageSet {
  std::span<const std::uint8_t> images;  // u8 [N, C, H, W]
  std::span<const std::int64_t> labels;  // [N]

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

}  // namespace mnistcnn::data
