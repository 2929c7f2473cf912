#include "mnistcnn/data/order.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mnistcnn::data {
namespace {

TEST(Order, IsAPermutation) {
  std::vector<std::int64_t> order = shuffled_order(1000, 1, 0);
  EXPECT_NE(order, plain_order(1000));
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, plain_order(1000));
}

TEST(Order, DependsOnlyOnSeedAndEpoch) {
  EXPECT_EQ(shuffled_order(100, 1, 2), shuffled_order(100, 1, 2));
  EXPECT_NE(shuffled_order(100, 1, 2), shuffled_order(100, 1, 3));
  EXPECT_NE(shuffled_order(100, 1, 2), shuffled_order(100, 2, 2));
}

TEST(Order, SupportsZeroAndOneImages) {
  EXPECT_TRUE(shuffled_order(0, 1, 0).empty());
  EXPECT_EQ(shuffled_order(1, 1, 0), plain_order(1));
}

}  // namespace
}  // namespace mnistcnn::data
