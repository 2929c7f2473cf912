#include "mnistcnn/engine/lanes/winograd.h"

#include "lanes/three_by_three.h"

// Winograd's two gradients beside the direct sums.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run_backward(const KernelTable& table, const ThreeByThree& given) {
  const WinogradShape shape = given.shape.reversed();
  const WinogradCorrelation correlation(table, shape);
  std::vector<float> packed(at(correlation.packed_size())), workspace(at(correlation.workspace_size()), NAN),
      y(at(shape.out.elements() * kLanes), NAN);
  for (int job = 0; job < correlation.packing_jobs(); ++job) correlation.pack(job, given.weights.data(), packed.data());
  correlation.run(dense_view(given.d, shape.in), packed.data(), nullptr, dense_view(y, shape.out), workspace.data());
  return y;
}

std::vector<float> run_weights(const KernelTable& table, const ThreeByThree& given) {
  const WinogradWeightGradient gradient(table, given.shape);
  std::vector<float> out(given.weights.size(), 0.5f), workspace(at(gradient.workspace_size()), NAN);
  gradient.run(dense_view(given.x, given.shape.in), dense_view(given.d, given.shape.out), out.data(), true,
               workspace.data());
  return out;
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

TEST(Winograd, WeightGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      expect_all(run_weights(table, given), given.weight_gradient(0.5), 2e-4, seed);
    }
  });
}

TEST(Winograd, HasTheSameBitsWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  for (unsigned seed = 0; seed < kCases; ++seed) {
    const ThreeByThree given(seed);
    std::vector<std::vector<float>> results[2];
    for (const char* name : {"avx2", "avx512"}) {
      const ForcedInstructionSet forced(name);
      results[std::string(name) == "avx2"] = {run_backward(kernels(), given), run_weights(kernels(), given)};
    }
    ASSERT_EQ(results[0], results[1]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
