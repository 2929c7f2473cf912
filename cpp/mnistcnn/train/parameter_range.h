#pragma once
#include <cstdint>

namespace mnistcnn::train {

// Half-open range [begin, end) of indices of the flat arrays.
struct ParameterRange {
  std::int64_t begin, end;
};

}  // namespace mnistcnn::train
