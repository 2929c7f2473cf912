#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include "lanes/convolution_3x3.h"

// All passes of 2-D Winograd on one block, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

constexpr unsigned kCases = 30;

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

TEST(Winograd2d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!is_supported("avx512")) GTEST_SKIP() << "this CPU does not support AVX-512";
  using Results = std::vector<std::vector<float>>;
  expect_same_bits_with_avx2_and_avx512(kCases, [](const KernelTable& table, const Case3x3& given, unsigned seed) {
    return Results{run_forward(table, given, bias_of(given, seed)), run_backward(table, given),
                   run_weights<Winograd2dWeightGradient>(table, given)};
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
