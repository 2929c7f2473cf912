#include "mnistcnn/engine/lanes/layout/convert.h"

#include <gtest/gtest.h>

#include <vector>

#include "lanes/lanes_fixture.h"

// Conversion between [images, C, H, W] and maps, compared with indices computed element by element.
namespace mnistcnn::engine::lanes {
namespace {

// A map with or without padding, and the reference for the location of its elements.
struct Map {
  Extent extent;
  std::int64_t padding;
  std::vector<float> memory;

  Map(const Extent& shape, std::int64_t border)
      : extent(shape),
        padding(border),
        memory(static_cast<std::size_t>(shape.channels * (shape.rows + border) * (shape.columns + border) * kLanes)) {}

  View view() { return {memory.data(), (extent.rows + padding) * row(), row()}; }
  std::int64_t row() const { return (extent.columns + padding) * kLanes; }
  float& at(std::int64_t element, int lane) {
    const std::int64_t w = element % extent.columns, h = element / extent.columns % extent.rows;
    const std::int64_t c = element / extent.positions();
    return memory[static_cast<std::size_t>((c * (extent.rows + padding) + h) * row() + w * kLanes + lane)];
  }
};

TEST(Convert, RoundTripIsExact) {
  testing::for_each_instruction_set([](const KernelTable& kernels) {
    for (unsigned seed = 0; seed < 60; ++seed) {
      SCOPED_TRACE(seed);
      testing::Random random(seed);
      const Extent extent{random.whole(1, 4), random.whole(1, 6), random.whole(1, 9)};
      const int images = seed % 3 == 0 ? kLanes : random.whole(1, kLanes);
      const std::int64_t size = extent.elements();
      const std::vector<float> rows = random.numbers(static_cast<std::size_t>(images * size));
      Map map(extent, random.whole(0, 1));
      to_lanes(kernels, rows.data(), images, extent, map.view());
      for (std::int64_t i = 0; i < size; ++i)
        for (int lane = 0; lane < kLanes; ++lane)
          ASSERT_EQ(map.at(i, lane), rows[static_cast<std::size_t>((lane < images ? lane : 0) * size + i)]);
      std::vector<float> back(rows.size());
      from_lanes(kernels, map.view(), extent, images, back.data());
      EXPECT_EQ(back, rows);
    }
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
