#include "mnistcnn/engine/lanes/bands.h"

#include "lanes/three_by_three.h"

// Winograd's method by bands of rows beside the direct sums.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_forward(const KernelTable& table, const ThreeByThree& given, const std::vector<float>& bias) {
  const BandCorrelation correlation(table, given.shape, Direction::kForward);
  return run(correlation, given, given.shape, given.x, bias.empty() ? nullptr : bias.data());
}

std::vector<float> run_backward(const KernelTable& table, const ThreeByThree& given) {
  const WinogradShape shape = given.shape.reversed();
  return run(BandCorrelation(table, shape, Direction::kGradient), given, shape, given.d, nullptr);
}

// Every second case has one.
std::vector<float> bias_of(const ThreeByThree& given, unsigned seed) {
  return seed % 2 == 0 ? std::vector<float>{} : Random(seed + 1000).numbers(at(given.shape.out.channels));
}

constexpr unsigned kCases = 40;

TEST(Bands, CoverEveryRowOnce) {
  for (int rows = 1; rows < 40; ++rows) {
    int next = 0;
    for (const Band& band : bands_of(rows)) {
      EXPECT_EQ(band.first, next);
      next += rows_of(band.kind);
    }
    EXPECT_GE(next, rows);
    EXPECT_LE(next, rows + 1);
  }
}

TEST(Bands, OutputsAreTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      const std::vector<float> bias = bias_of(given, seed);
      expect_last_image(run_forward(table, given, bias), given.outputs(bias), 1e-5, seed);
    }
  });
}

TEST(Bands, InputGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 1e-5, seed);
    }
  });
}

TEST(Bands, WeightGradientIsTheDirectSum) { expect_weight_gradients<BandWeightGradient>(kCases, 1e-4); }

// AVX-512 keeps the products in registers where AVX2 goes by way of memory.
TEST(Bands, HaveTheSameBitsWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  using Results = std::vector<std::vector<float>>;
  expect_same_bits_with_avx2_and_avx512(kCases, [](const KernelTable& table, const ThreeByThree& given, unsigned seed) {
    return Results{run_forward(table, given, bias_of(given, seed)), run_backward(table, given),
                   run_weights<BandWeightGradient>(table, given)};
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
