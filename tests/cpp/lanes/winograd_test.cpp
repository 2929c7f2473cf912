#include "mnistcnn/engine/lanes/winograd.h"

#include "lanes/lanes_fixture.h"

// Winograd's two gradients beside the direct sums.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// A convolution in memory, all maps dense.
struct Case {
  WinogradShape shape;
  std::vector<float> x, weights, d;

  explicit Case(unsigned seed) {
    Random random(seed);
    const int top = random.whole(0, 2), left = random.whole(0, 2), rows = random.whole(3, 15),
              columns = seed % 5 == 0 ? 45 : random.whole(3, 15);
    const Extent in{random.whole(1, 9), rows, columns};
    shape = {in, {random.whole(1, 19), rows + 2 * top - 2, columns + 2 * left - 2}, top, left};
    x = random.numbers(at(in.elements() * kLanes));
    d = random.numbers(at(shape.out.elements() * kLanes));
    weights = random.numbers(at(shape.out.channels * in.channels * 9));
  }

  // Calls visit(position in x, position in d, weight) for everything that is multiplied, of the first image.
  template <class Visit>
  void for_each_product(Visit visit) const {
    const Extent &in = shape.in, &out = shape.out;
    for (std::int64_t o = 0; o < out.channels; ++o)
      for (std::int64_t c = 0; c < in.channels; ++c)
        for (std::int64_t h = 0; h < out.rows; ++h)
          for (std::int64_t w = 0; w < out.columns; ++w)
            for (std::int64_t k = 0; k < 9; ++k) {
              const std::int64_t row = h + k / 3 - shape.top, column = w + k % 3 - shape.left;
              if (row < 0 || row >= in.rows || column < 0 || column >= in.columns) continue;
              visit(at((c * in.rows + row) * in.columns + column), at((o * out.rows + h) * out.columns + w),
                    at((o * in.channels + c) * 9 + k));
            }
  }
};

View dense_view(const std::vector<float>& data, const Extent& extent) {
  return {const_cast<float*>(data.data()), extent.positions() * kLanes, extent.columns * kLanes};
}

std::vector<float> run_backward(const KernelTable& table, const Case& given) {
  const WinogradShape shape = given.shape.reversed();
  const WinogradCorrelation correlation(table, shape);
  std::vector<float> packed(at(correlation.packed_size())), workspace(at(correlation.workspace_size()), NAN),
      y(at(shape.out.elements() * kLanes), NAN);
  for (int job = 0; job < correlation.packing_jobs(); ++job) correlation.pack(job, given.weights.data(), packed.data());
  correlation.run(dense_view(given.d, shape.in), packed.data(), dense_view(y, shape.out), workspace.data());
  return y;
}

std::vector<float> run_weights(const KernelTable& table, const Case& given) {
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
      const Case given(seed);
      std::vector<double> expected(at(given.shape.in.elements()), 0);
      given.for_each_product([&](std::size_t x, std::size_t y, std::size_t w) {
        expected[x] += static_cast<double>(given.d[y * kLanes + 15]) * given.weights[w];
      });
      const std::vector<float> g = run_backward(table, given);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(g[i * kLanes + 15], expected[i], 2e-5) << "seed " << seed << " at " << i;
    }
  });
}

TEST(Winograd, WeightGradientIsTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case given(seed);
      std::vector<double> expected(given.weights.size(), 0.5);
      given.for_each_product([&](std::size_t x, std::size_t y, std::size_t w) {
        for (std::size_t image = 0; image < kLanes; ++image)
          expected[w] += static_cast<double>(given.x[x * kLanes + image]) * given.d[y * kLanes + image];
      });
      const std::vector<float> g = run_weights(table, given);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(g[i], expected[i], 2e-4) << "seed " << seed << " at " << i;
    }
  });
}

TEST(Winograd, HasTheSameBitsWithAvx2AndAvx512) {
  if (!runs_here("avx512")) GTEST_SKIP() << "this machine has no AVX-512";
  for (unsigned seed = 0; seed < kCases; ++seed) {
    const Case given(seed);
    std::vector<std::vector<float>> results[2];
    for (const char* name : {"avx2", "avx512"}) {
      const ForcedInstructionSet forced(name);
      results[std::string(name) == "avx2"] = {run_backward(kernels(), given), run_weights(kernels(), given)};
    }
    ASSERT_EQ(results[0], results[1]) << "seed " << seed;
  }
}

TEST(Winograd, PaysForManyChannelsOnLargeMapsOnly) {
  for (const auto pays : {winograd_pays_for_inputs, winograd_pays_for_weights}) {
    const auto on = [&](std::int64_t channels, std::int64_t size) {
      return pays({{channels, size, size}, {channels, size, size}, 1, 1});
    };
    EXPECT_TRUE(on(16, 28));
    EXPECT_TRUE(on(128, 12));
    EXPECT_FALSE(on(2, 28));
    EXPECT_FALSE(on(64, 1));
  }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
