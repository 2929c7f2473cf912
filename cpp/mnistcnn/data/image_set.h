#pragma once
#include <cstdint>
#include <span>

namespace mnistcnn::data {

// A resident data set, seen and not owned. Whoever makes one has checked that the sizes agree and that every
// label is a class.
struct ImageSet {
  std::span<const std::uint8_t> images;  // u8 [N, C, H, W]
  std::span<const std::int64_t> labels;  // [N]

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

}  // namespace mnistcnn::data
