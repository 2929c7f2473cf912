#include "mnistcnn/data/order.h"

#include <numeric>
#include <utility>

#include "mnistcnn/common/random.h"

namespace mnistcnn::data {

std::vector<std::int64_t> plain_order(std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<std::int64_t> shuffled_order(std::int64_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::int64_t> order = plain_order(count);
  const common::Stream stream(seed, common::Purpose::kShuffle, epoch);
  for (std::size_t last = order.size(); last > 1; --last) std::swap(order[last - 1], order[stream.below(last, last)]);
  return order;
}

}  // namespace mnistcnn::data
