#include "mnistcnn/engine/lanes/winograd.h"

#include "lanes/three_by_three.h"

// Winograd's two gradients beside the direct sums.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_backward(const KernelTable& table, const ThreeByThree& given) {
  const WinogradShape shape = given.shape.reversed();
  return run(WinogradCorrelation(table, shape), given, shape, given.d, nullptr);
}

constexpr unsigned kCases = 30;

TEST(Winograd, InputGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 2e-5, seed);
    }
  });
}

TEST(Winograd, WeightGradientIsTheDirectSum) { expect_weight_gradients<WinogradWeightGradient>(kCases, 2e-4); }

TEST(Winograd, HasTheSameBitsWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  using Results = std::vector<std::vector<float>>;
  expect_same_bits_with_avx2_and_avx512(kCases, [](const KernelTable& table, const ThreeByThree& given, unsigned) {
    return Results{run_backward(table, given), run_weights<WinogradWeightGradient>(table, given)};
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
