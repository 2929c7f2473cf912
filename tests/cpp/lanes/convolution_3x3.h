#pragma once
#include "lanes/lanes_fixture.h"
#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

// Random 3x3 convolutions without stride, and reference results as direct sums in double, for the tests of Winograd.
namespace mnistcnn::engine::lanes::testing {

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Random inputs, weights and output gradients of a convolution. All maps are dense.
struct Case3x3 {
  Convolution3x3 shape;
  std::vector<float> x, weights, d;

  explicit Case3x3(unsigned seed) {
    Random random(seed);
    const int top = random.whole(0, 2), left = random.whole(0, 2), rows = random.whole(3, 15),
              columns = seed % 5 == 0 ? 45 : random.whole(3, 15);
    const Extent in{random.whole(1, 9), rows, columns};
    fill(random, in, random.whole(1, 19), top, left);
  }
  // Enough channels for shorter tiles at the edge of 2-D Winograd. Every third case has few inputs, and every third a
  // single row of outputs.
  static Case3x3 with_shorter_tiles(unsigned seed) {
    Random random(seed);
    const bool few_inputs = seed % 3 == 1, is_flat = seed % 3 == 2;
    const int inputs = few_inputs ? random.whole(8, 15) : random.whole(32, 36),
              outputs = few_inputs ? random.whole(128, 140) : random.whole(32, 36);
    const Extent in{inputs, is_flat ? 3 : random.whole(4, 15), is_flat ? 45 : random.whole(4, 15)};
    Case3x3 given;
    given.fill(random, in, outputs, is_flat ? 0 : random.whole(0, 2), random.whole(0, 2));
    return given;
  }
  // Many channels on a small map.
  static Case3x3 wide(unsigned seed) {
    Random random(seed);
    const int top = random.whole(0, 2), left = random.whole(0, 2);
    const Extent in{random.whole(50, 150), random.whole(3, 7), random.whole(3, 7)};
    Case3x3 given;
    given.fill(random, in, random.whole(50, 150), top, left);
    return given;
  }

 private:
  Case3x3() = default;
  void fill(Random& random, const Extent& in, int outputs, int top, int left) {
    shape = {in, {outputs, in.rows + 2 * top - 2, in.columns + 2 * left - 2}, top, left};
    x = random.numbers(at(in.elements() * kLanes));
    d = random.numbers(at(shape.out.elements() * kLanes));
    weights = random.numbers(at(shape.out.channels * in.channels * 9));
  }

 public:
  // References. Outputs and input gradient are those of the last image; the weight gradient is over all images.
  std::vector<double> outputs(const std::vector<float>& bias) const {
    std::vector<double> y(at(shape.out.elements()));
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = bias.empty() ? 0 : bias[i / at(shape.out.positions())];
    for_each_product([&](std::size_t from, std::size_t to, std::size_t w) {
      y[to] += static_cast<double>(x[from * kLanes + 15]) * weights[w];
    });
    return y;
  }
  std::vector<double> input_gradient() const {
    std::vector<double> g(at(shape.in.elements()), 0);
    for_each_product([&](std::size_t to, std::size_t from, std::size_t w) {
      g[to] += static_cast<double>(d[from * kLanes + 15]) * weights[w];
    });
    return g;
  }
  std::vector<double> weight_gradient(double from) const {
    std::vector<double> g(weights.size(), from);
    for_each_product([&](std::size_t in, std::size_t out, std::size_t w) {
      for (std::size_t image = 0; image < kLanes; ++image)
        g[w] += static_cast<double>(x[in * kLanes + image]) * d[out * kLanes + image];
    });
    return g;
  }

  // Call visit(element of the input, element of the output, weight) for each product of one image.
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

inline View dense_view(const std::vector<float>& data, const Extent& extent) {
  return {const_cast<float*>(data.data()), extent.positions() * kLanes, extent.columns * kLanes};
}

inline void expect_last_image(const std::vector<float>& maps, const std::vector<double>& expected, double tolerance,
                              unsigned seed) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(maps[i * kLanes + 15], expected[i], tolerance) << "seed " << seed << " at " << i;
}

inline void expect_all(const std::vector<float>& numbers, const std::vector<double>& expected, double tolerance,
                       unsigned seed) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(numbers[i], expected[i], tolerance) << "seed " << seed << " at " << i;
}

// Run a convolution algorithm on one block.
template <class Convolution>
std::vector<float> run(const Convolution& convolution, const Case3x3& given, const Convolution3x3& shape,
                       const std::vector<float>& x, const float* bias) {
  std::vector<float> packed(at(convolution.packed_size()), NAN), workspace(at(convolution.workspace_size()), NAN),
      y(at(shape.out.elements() * kLanes), NAN);
  for (int task = 0; task < convolution.packing_tasks(); ++task)
    convolution.pack(task, given.weights.data(), packed.data());
  convolution.run(dense_view(x, shape.in), packed.data(), bias, dense_view(y, shape.out), workspace.data());
  return y;
}

// Run a weight gradient algorithm that adds to 0.5.
template <class WeightGradient>
std::vector<float> run_weights(const KernelTable& table, const Case3x3& given) {
  const WeightGradient gradient(table, given.shape);
  std::vector<float> out(given.weights.size(), 0.5f), workspace(at(gradient.workspace_size()), NAN);
  gradient.run(dense_view(given.x, given.shape.in), dense_view(given.d, given.shape.out), out.data(), true,
               workspace.data());
  return out;
}

template <class WeightGradient>
void expect_weight_gradients(unsigned cases, double tolerance) {
  for_each_instruction_set([&](const KernelTable& table) {
    for (unsigned seed = 0; seed < cases; ++seed) {
      const Case3x3 given(seed);
      expect_all(run_weights<WeightGradient>(table, given), given.weight_gradient(0.5), tolerance, seed);
    }
  });
}

// case_of(seed) returns a case, and compute(table, given, seed) its results.
template <class CaseOf, class Compute>
void expect_same_bits_with_avx2_and_avx512(unsigned cases, const CaseOf& case_of, const Compute& compute) {
  for (unsigned seed = 0; seed < cases; ++seed) {
    const Case3x3 given = case_of(seed);
    std::vector<std::vector<float>> results[2];
    for (const char* name : {"avx2", "avx512"}) {
      const ForcedInstructionSet forced(name);
      results[std::string(name) == "avx2"] = compute(kernels(), given, seed);
    }
    ASSERT_EQ(results[0], results[1]) << "seed " << seed;
  }
}

}  // namespace mnistcnn::engine::lanes::testing
