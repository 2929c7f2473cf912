#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include "lanes/convolution_3x3.h"

// All passes of 2-D Winograd on one block, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

constexpr unsigned kCases = 30;
constexpr unsigned kCasesWithShorterTiles = 12;

std::vector<float> run_forward(const KernelTable& table, const Case3x3& given, const std::vector<float>& bias) {
  return run(Winograd2dConvolution(table, given.shape, Direction::kForward), given, given.shape, given.x,
             bias.empty() ? nullptr : bias.data());
}

std::vector<float> run_backward(const KernelTable& table, const Case3x3& given) {
  return run(Winograd2dConvolution(table, given.shape, Direction::kInputGradient), given, given.shape.reversed(),
             given.d, nullptr);
}

// Without a bias if the seed is even.
std::vector<float> bias_of(const Case3x3& given, unsigned seed) {
  if (seed % 2 == 0) return {};
  return Random(seed).numbers(at(given.shape.out.channels));
}

TEST(Winograd2d, OutputsMatchTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given(seed);
      const std::vector<float> bias = bias_of(given, seed);
      expect_last_image(run_forward(table, given, bias), given.outputs(bias), 2e-5, seed);
    }
  });
}

TEST(Winograd2d, InputGradientMatchesTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 2e-5, seed);
    }
  });
}

TEST(Winograd2d, WeightGradientMatchesTheDirectSum) { expect_weight_gradients<Winograd2dWeightGradient>(kCases, 2e-4); }

TEST(Winograd2d, WeightGradientOfManyChannelsMatchesTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < 3; ++seed) {
      const Case3x3 given = Case3x3::wide(seed);
      expect_all(run_weights<Winograd2dWeightGradient>(table, given), given.weight_gradient(0.5), 2e-4, seed);
    }
  });
}

TEST(Winograd2d, ShorterTilesAtTheEdgeMatchTheDirectSums) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCasesWithShorterTiles; ++seed) {
      const Case3x3 given = Case3x3::with_shorter_tiles(seed);
      const std::vector<float> bias = bias_of(given, seed);
      expect_last_image(run_forward(table, given, bias), given.outputs(bias), 1e-4, seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 1e-4, seed);
      expect_all(run_weights<Winograd2dWeightGradient>(table, given), given.weight_gradient(0.5), 5e-4, seed);
    }
  });
}

TEST(Winograd2d, TilesCoverTheOutputsWithFewProducts) {
  const Extent in{64, 12, 5};
  const Tiling2d tiling({in, {64, 10, 5}, 0, 1});
  std::vector<std::pair<int, int>> sizes;
  for (const TileGroup2d& group : tiling.groups()) sizes.emplace_back(group.rows.size, group.columns.size);
  EXPECT_EQ(sizes, (std::vector<std::pair<int, int>>{{4, 3}, {4, 2}, {2, 3}, {2, 2}}));
  EXPECT_EQ(tiling.products(), (6 + 6 + 4) * (5 + 4));
  for (int outputs = 1; outputs < 30; ++outputs) {
    int next = 0, points = 0;
    for (const TileRange& range : tile_ranges(outputs, true)) {
      EXPECT_EQ(range.first, next);
      next += range.size * range.count;
      points += range.points() * range.count;
    }
    EXPECT_EQ(next, std::max(outputs, 2));
    EXPECT_EQ(points, next + 2 * ((outputs + 3) / 4)) << outputs;
  }
}

// Both gradients of a block from one transform of the output gradients.
std::vector<std::vector<float>> run_both_gradients(const KernelTable& table, const Case3x3& given) {
  const Winograd2dWeightGradient weights(table, given.shape);
  const Winograd2dConvolution inputs(table, given.shape, Direction::kInputGradient);
  std::vector<float> packed(at(inputs.packed_size()), NAN), workspace(at(weights.workspace_size()), NAN),
      x_gradient(at(given.shape.in.elements() * kLanes), NAN), gradient(given.weights.size(), 0.5f);
  for (int task = 0; task < inputs.packing_tasks(); ++task) inputs.pack(task, given.weights.data(), packed.data());
  for (int i = 0; i < weights.groups(); ++i) {
    const auto domains = weights.add_group(i, dense_view(given.x, given.shape.in), dense_view(given.d, given.shape.out),
                                           weights.all_outputs(), workspace.data());
    inputs.multiply(weights.group(i), domains.gradients, packed.data(), nullptr, dense_view(x_gradient, given.shape.in),
                    domains.inputs);
  }
  weights.write(workspace.data(), weights.all_outputs(), gradient.data(), true);
  return {x_gradient, gradient};
}

TEST(Winograd2d, BothGradientsHaveTheBitsOfTwoPasses) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCasesWithShorterTiles; ++seed) {
      const Case3x3 given = seed % 2 == 0 ? Case3x3::wide(seed) : Case3x3::with_shorter_tiles(seed);
      if (!Winograd2dWeightGradient(table, given.shape).shares_domains()) continue;  // few inputs
      const std::vector<std::vector<float>> both = run_both_gradients(table, given);
      EXPECT_EQ(both[0], run_backward(table, given)) << "seed " << seed;
      EXPECT_EQ(both[1], run_weights<Winograd2dWeightGradient>(table, given)) << "seed " << seed;
    }
  });
}

TEST(Winograd2d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!is_supported("avx512")) GTEST_SKIP() << "this CPU does not support AVX-512";
  using Results = std::vector<std::vector<float>>;
  const auto case_of = [](unsigned seed) {
    return seed < kCasesWithShorterTiles ? Case3x3::with_shorter_tiles(seed) : Case3x3(seed);
  };
  expect_same_bits_with_avx2_and_avx512(
      kCases, case_of, [](const KernelTable& table, const Case3x3& given, unsigned seed) {
        return Results{run_forward(table, given, bias_of(given, seed)), run_backward(table, given),
                       run_weights<Winograd2dWeightGradient>(table, given)};
      });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
