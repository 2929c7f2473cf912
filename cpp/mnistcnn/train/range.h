#pragma once
#include <cstdint>

namespace mnistcnn::train {

// A stretch of the flat arrays, [begin, end).
struct IndexRange {
  std::int64_t begin, end;
};

}  // namespace mnistcnn::train
