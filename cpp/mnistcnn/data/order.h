#pragma once
#include <cstdint>
#include <vector>

namespace mnistcnn::data {

// Return 0, 1, ..., count - 1.
std::vector<std::int64_t> plain_order(std::int64_t count);

// Return the order of the images in an epoch: a permutation determined by count, seed and epoch.
std::vector<std::int64_t> shuffled_order(std::int64_t count, std::uint64_t seed, std::uint64_t epoch);

}  // namespace mnistcnn::data
