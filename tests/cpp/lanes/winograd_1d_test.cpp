#include "mnistcnn/engine/lanes/conv/winograd_1d.h"

#include "lanes/convolution_3x3.h"

// 1-D Winograd convolutions and gradients, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_forward(const KernelTable& table, const Case3x3& given, const std::vector<float>& bias) {
  const Winograd1dConvolution convolution(table, given.shape, Direction::kForward);
  return run(convolution, given, given.shape, given.x, bias.empty() ? nullptr : bias.data());
}

std::vector<float> run_backward(const KernelTable& table, const Case3x3& given) {
  const Convolution3x3 shape = given.shape.reversed();
  return run(Winograd1dConvolution(table, shape, Direction::kInputGradient), given, shape, given.d, nullptr);
}

// A bias for every second case.
std::vector<float> bias_of(const Case3x3& given, unsigned seed) {
  return seed % 2 == 0 ? std::vector<float>{} : Random(seed + 1000).numbers(at(given.shape.out.channels));
}

constexpr unsigned kCases = 40;

TEST(Winograd1d, RowTilesCoverEveryRowOnce) {
  for (int rows = 1; rows < 40; ++rows) {
    int next = 0;
    for (const RowTile& tile : row_tiles_of(rows)) {
      EXPECT_EQ(tile.first, next);
      next += rows_per_tile(tile.kind);
    }
    EXPECT_GE(next, rows);
    EXPECT_LE(next, rows + 1);
  }
}

TEST(Winograd1d, OutputsMatchTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given(seed);
      const std::vector<float> bias = bias_of(given, seed);
      expect_last_image(run_forward(table, given, bias), given.outputs(bias), 1e-5, seed);
    }
  });
}

TEST(Winograd1d, InputGradientMatchesTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 1e-5, seed);
    }
  });
}

TEST(Winograd1d, WeightGradientMatchesTheDirectSum) { expect_weight_gradients<Winograd1dWeightGradient>(kCases, 1e-4); }

// With AVX-512 the domain of the outputs stays in registers, with AVX2 it is in memory.
TEST(Winograd1d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!is_supported("avx512")) GTEST_SKIP() << "this CPU does not support AVX-512";
  using Results = std::vector<std::vector<float>>;
  const auto case_of = [](unsigned seed) { return Case3x3(seed); };
  expect_same_bits_with_avx2_and_avx512(
      kCases, case_of, [](const KernelTable& table, const Case3x3& given, unsigned seed) {
        return Results{run_forward(table, given, bias_of(given, seed)), run_backward(table, given),
                       run_weights<Winograd1dWeightGradient>(table, given)};
      });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
