#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include "lanes/convolution_3x3.h"

// The two gradients of 2-D Winograd against direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_backward(const KernelTable& table, const ThreeByThree& given) {
  const Convolution3x3 shape = given.shape.reversed();
  return run(Winograd2dInputGradient(table, shape), given, shape, given.d, nullptr);
}

constexpr unsigned kCases = 30;

TEST(Winograd2d, InputGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 2e-5, seed);
    }
  });
}

TEST(Winograd2d, WeightGradientIsTheDirectSum) { expect_weight_gradients<Winograd2dWeightGradient>(kCases, 2e-4); }

TEST(Winograd2d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  using Results = std::vector<std::vector<float>>;
  expect_same_bits_with_avx2_and_avx512(kCases, [](const KernelTable& table, const ThreeByThree& given, unsigned) {
    return Results{run_backward(table, given), run_weights<Winograd2dWeightGradient>(table, given)};
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
