#include "mnistcnn/engine/lanes/placement.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "lanes/lanes_fixture.h"

// Pieces of memory that are needed at the same time, and those that are not.
namespace mnistcnn::engine::lanes {
namespace {

bool live_together(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

TEST(SharedMemory, KeepsApartWhatLivesTogether) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    testing::Random random(seed);
    std::vector<Lifetime> lifetimes(static_cast<std::size_t>(random.whole(1, 12)));
    for (Lifetime& each : lifetimes) {
      each.first = random.whole(0, 10);
      each.last = each.first + random.whole(0, 4);
      each.size = random.whole(1, 50);
    }
    const SharedMemory memory = share_memory(lifetimes);
    std::int64_t end = 0;
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      end = std::max(end, memory.places[i] + lifetimes[i].size);
      for (std::size_t j = 0; j < i; ++j) {
        if (!live_together(lifetimes[i], lifetimes[j])) continue;
        const bool apart = memory.places[i] + lifetimes[i].size <= memory.places[j] ||
                           memory.places[j] + lifetimes[j].size <= memory.places[i];
        EXPECT_TRUE(apart) << i << " and " << j;
      }
    }
    EXPECT_EQ(memory.total, end);
  }
}

TEST(SharedMemory, OneAfterAnotherTakesThePlaceOfTheLargest) {
  EXPECT_EQ(share_memory({{0, 1, 30}, {2, 3, 50}, {4, 4, 20}}).total, 50);
  EXPECT_EQ(share_memory({{0, 2, 30}, {2, 3, 50}, {4, 4, 20}}).total, 80);
  EXPECT_EQ(share_memory({}).total, 0);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
