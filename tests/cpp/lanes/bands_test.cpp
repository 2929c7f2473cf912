#include "mnistcnn/engine/lanes/bands.h"

#include "lanes/three_by_three.h"

// Winograd's method by bands of rows beside the direct sums.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::vector<float> run(const BandCorrelation& correlation, const ThreeByThree& given, const WinogradShape& shape,
                       const std::vector<float>& x, const float* bias) {
  std::vector<float> packed(at(correlation.packed_size()), NAN), workspace(at(correlation.workspace_size()), NAN),
      y(at(shape.out.elements() * kLanes), NAN);
  for (int job = 0; job < correlation.packing_jobs(); ++job) correlation.pack(job, given.weights.data(), packed.data());
  correlation.run(dense_view(x, shape.in), packed.data(), bias, dense_view(y, shape.out), workspace.data());
  return y;
}

std::vector<float> run_forward(const KernelTable& table, const ThreeByThree& given, const std::vector<float>& bias) {
  const BandCorrelation correlation(table, given.shape, Direction::kForward);
  return run(correlation, given, given.shape, given.x, bias.empty() ? nullptr : bias.data());
}

std::vector<float> run_backward(const KernelTable& table, const ThreeByThree& given) {
  const WinogradShape shape = given.shape.reversed();
  return run(BandCorrelation(table, shape, Direction::kGradient), given, shape, given.d, nullptr);
}

std::vector<float> run_weights(const KernelTable& table, const ThreeByThree& given) {
  const BandWeightGradient gradient(table, given.shape);
  std::vector<float> out(given.weights.size(), 0.5f), workspace(at(gradient.workspace_size()), NAN);
  gradient.run(dense_view(given.x, given.shape.in), dense_view(given.d, given.shape.out), out.data(), true,
               workspace.data());
  return out;
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

TEST(Bands, WeightGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const ThreeByThree given(seed);
      expect_all(run_weights(table, given), given.weight_gradient(0.5), 1e-4, seed);
    }
  });
}

// AVX-512 keeps the products in registers where AVX2 goes by way of memory.
TEST(Bands, HaveTheSameBitsWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  for (unsigned seed = 0; seed < kCases; ++seed) {
    const ThreeByThree given(seed);
    std::vector<std::vector<float>> results[2];
    for (const char* name : {"avx2", "avx512"}) {
      const ForcedInstructionSet forced(name);
      results[std::string(name) == "avx2"] = {run_forward(kernels(), given, bias_of(given, seed)),
                                              run_backward(kernels(), given), run_weights(kernels(), given)};
    }
    ASSERT_EQ(results[0], results[1]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
