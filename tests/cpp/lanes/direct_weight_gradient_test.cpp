#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"

#include <cmath>

#include "lanes/lanes_fixture.h"

// Weight gradients whose tiles add a few rows at a time, compared with one call per tile for the whole map.
namespace mnistcnn::engine::lanes::testing {
namespace {

// Large enough for several steps on every instruction set, with more tiles than the sums of one step.
network::Conv2d layer_1x1(int stride, int padding, int groups) {
  network::Conv2d layer;
  layer.out_channels = 48;
  layer.kernel = {1, 1};
  layer.stride = {stride, stride};
  layer.padding = {padding, padding, padding, padding};
  layer.groups = groups;
  return layer;
}

void check(const KernelTable& table, int stride, int padding, int groups, bool accumulate) {
  const network::Conv2d layer = layer_1x1(stride, padding, groups);
  const Extent in{48, 30, 28};
  const std::int64_t rows = (in.rows + 2 * padding - 1) / stride + 1,
                     columns = (in.columns + 2 * padding - 1) / stride + 1;
  const Extent out{layer.out_channels, rows, columns};
  const PaddedLayout input{in, {padding, padding, padding, padding}};
  const DirectWeightGradient gradient(table, layer, input, out);
  ASSERT_GT(gradient.workspace_size(), 0);
  Random random(static_cast<unsigned>(stride * 9 + padding * 3 + groups));
  std::vector<float> x = random.numbers(to_size(input.size())), d = random.numbers(to_size(out.elements() * kLanes));
  const std::int64_t channels = in.channels / groups, outputs = out.channels / groups;
  const std::vector<float> before = random.numbers(to_size(out.channels * channels));

  std::vector<float> expected = before, sums(kTileSums, NAN);
  for (int group = 0; group < groups; ++group)
    for (const WeightGradientTile& tile : gradient.tiles())
      gradient.add_rows(tile, {0, integer(rows)}, from_channel(input.view(x.data()), group * channels),
                        from_channel(dense_view(d.data(), out), group * outputs + tile.output), sums.data(),
                        expected.data() + group * outputs * channels, accumulate);

  std::vector<float> result = before, workspace(to_size(gradient.workspace_size()), NAN);
  for (const int part : {1, 2, 0})
    gradient.run(input.view(x.data()), dense_view(d.data(), out), result.data(), accumulate, workspace.data(),
                 {part, 3});
  ASSERT_EQ(result, expected);
}

TEST(DirectWeightGradient, StepsOfSomeRowsGiveTheSameBitsAsWholeMaps) {
  for_each_instruction_set([](const KernelTable& table) {
    for (const int stride : {1, 2})
      for (const int padding : {0, 1})
        for (const int groups : {1, 2})
          for (const bool accumulate : {false, true}) {
            SCOPED_TRACE(::testing::Message() << stride << padding << groups << accumulate);
            check(table, stride, padding, groups, accumulate);
          }
  });
}

TEST(DirectWeightGradient, OnlyLargeMapsOf1x1KernelsNeedAWorkspace) {
  for_each_instruction_set([](const KernelTable& table) {
    network::Conv2d layer = layer_1x1(1, 0, 1);
    const Extent small{48, 2, 2}, large{48, 30, 28};
    EXPECT_EQ(DirectWeightGradient(table, layer, {small, {}}, small).workspace_size(), 0);
    layer.kernel = {1, 3};
    EXPECT_EQ(DirectWeightGradient(table, layer, {large, {}}, large).workspace_size(), 0);
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
