#include "mnistcnn/engine/lanes/plan/memory_planner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "lanes/lanes_fixture.h"

// Assignment of memory to buffers by their lifetimes.
namespace mnistcnn::engine::lanes {
namespace {

bool overlap(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

TEST(AssignOffsets, SeparatesBuffersWithOverlappingLifetimes) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    testing::Random random(seed);
    std::vector<Lifetime> lifetimes(static_cast<std::size_t>(random.whole(1, 12)));
    for (Lifetime& each : lifetimes) {
      each.first = random.whole(0, 10);
      each.last = each.first + random.whole(0, 4);
      each.size = random.whole(1, 50);
    }
    const MemoryAssignment memory = assign_offsets(lifetimes);
    std::int64_t end = 0;
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      end = std::max(end, memory.offsets[i] + lifetimes[i].size);
      for (std::size_t j = 0; j < i; ++j) {
        if (!overlap(lifetimes[i], lifetimes[j])) continue;
        const bool apart = memory.offsets[i] + lifetimes[i].size <= memory.offsets[j] ||
                           memory.offsets[j] + lifetimes[j].size <= memory.offsets[i];
        EXPECT_TRUE(apart) << i << " and " << j;
      }
    }
    EXPECT_EQ(memory.total, end);
  }
}

TEST(AssignOffsets, ReusesMemoryOfDisjointLifetimes) {
  EXPECT_EQ(assign_offsets({{0, 1, 30}, {2, 3, 50}, {4, 4, 20}}).total, 50);
  EXPECT_EQ(assign_offsets({{0, 2, 30}, {2, 3, 50}, {4, 4, 20}}).total, 80);
  EXPECT_EQ(assign_offsets({}).total, 0);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
