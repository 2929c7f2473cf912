#pragma once
#include <cstdint>
#include <vector>

namespace mnistcnn::data {

// 0, 1, ..., count - 1
std::vector<std::int64_t> plain_order(std::int64_t count);

// The order of the images in one epoch: a permutation that depends on these three numbers alone.
std::vector<std::int64_t> shuffled_order(std::int64_t count, std::uint64_t seed, std::uint64_t epoch);

}  // namespace mnistcnn::data
