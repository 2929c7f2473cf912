#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include "lanes/convolution_3x3.h"

// The gradients of 2-D Winograd, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_backward(const KernelTable& table, const Case3x3& given) {
  const Convolution3x3 shape = given.shape.reversed();
  return run(Winograd2dInputGradient(table, shape), given, shape, given.d, nullptr);
}

constexpr unsigned kCases = 30;

TEST(Winograd2d, InputGradientMatchesTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given(seed);
      expect_last_image(run_backward(table, given), given.input_gradient(), 2e-5, seed);
    }
  });
}

TEST(Winograd2d, WeightGradientMatchesTheDirectSum) { expect_weight_gradients<Winograd2dWeightGradient>(kCases, 2e-4); }

TEST(Winograd2d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!is_supported("avx512")) GTEST_SKIP() << "this CPU does not support AVX-512";
  using Results = std::vector<std::vector<float>>;
  expect_same_bits_with_avx2_and_avx512(kCases, [](const KernelTable& table, const Case3x3& given, unsigned) {
    return Results{run_backward(table, given), run_weights<Winograd2dWeightGradient>(table, given)};
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
