#pragma once
#include <vector>

// Division of output channels, columns or taps into ranges of nearly equal size, for register tiles and tile groups,
// and of blocks into parts.
namespace mnistcnn::engine::lanes {

// Range of consecutive indices [first, first + count).
struct IndexRange {
  int first, count;
};

// One of several parts of a block: a range of its channels, rows or tiles. Different threads may compute the parts at
// the same time.
struct Part {
  int index = 0, count = 1;

  // Return the part of [0, size). It is empty in some parts if there are more parts than indices.
  IndexRange of(int size) const {
    const int first = size * index / count;
    return {first, size * (index + 1) / count - first};
  }
};

// Number of ranges in an even split.
constexpr int parts_of_split(int count, int max_size) { return (count + max_size - 1) / max_size; }

// Size of the largest range in an even split.
constexpr int split_size(int count, int max_size) {
  const int parts = parts_of_split(count, max_size);
  return (count + parts - 1) / parts;
}

// Split [0, count) into as few ranges of at most `max_size` as possible. Sizes differ by at most 1, the larger first.
inline std::vector<IndexRange> split_evenly(int count, int max_size) {
  std::vector<IndexRange> ranges;
  const int parts = parts_of_split(count, max_size);
  for (int i = 0, first = 0; i < parts; ++i) {
    const int size = count / parts + (i < count % parts ? 1 : 0);
    ranges.push_back({first, size});
    first += size;
  }
  return ranges;
}

}  // namespace mnistcnn::engine::lanes
