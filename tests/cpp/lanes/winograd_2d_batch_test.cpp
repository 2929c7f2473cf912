#include "mnistcnn/engine/lanes/conv/winograd_2d_batch.h"

#include "lanes/convolution_3x3.h"

// 2-D Winograd over a batch of several blocks, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

constexpr unsigned kCases = 12;

std::vector<float> scaled(std::vector<float> numbers, float factor) {
  for (float& each : numbers) each *= factor;
  return numbers;
}

std::vector<double> scaled(std::vector<double> numbers, double factor) {
  for (double& each : numbers) each *= factor;
  return numbers;
}

// The images and output gradients of block b are those of the case times b + 1.
struct BatchResults {
  std::vector<std::vector<float>> outputs, input_gradients;  // per block
  std::vector<float> weight_gradient;
  bool operator==(const BatchResults&) const = default;
};

BatchResults run_batch(const KernelTable& table, const Case3x3& given, int blocks, const std::vector<float>& bias) {
  const BatchWinograd2d convolution(table, given.shape);
  const std::int64_t capacity = blocks + 2;
  std::vector<float> domains(at(convolution.batch_size() * capacity), NAN), packed(at(convolution.packed_size()), NAN),
      workspace(at(convolution.workspace_size()), NAN);
  const BatchWinograd2d::Memory memory{domains.data(), capacity, packed.data(), blocks};
  const Extent &in = given.shape.in, &out = given.shape.out;
  BatchResults results;
  for (int task = 0; task < convolution.packing_tasks(); ++task)
    convolution.pack(task, given.weights.data(), packed.data());
  for (int block = 0; block < blocks; ++block)
    convolution.transform_inputs(memory, block, dense_view(scaled(given.x, static_cast<float>(block + 1)), in));
  for (int task = 0; task < convolution.output_tasks(); ++task) convolution.multiply_outputs(memory, task);
  for (int block = 0; block < blocks; ++block) {
    results.outputs.emplace_back(at(out.elements() * kLanes), NAN);
    convolution.write_outputs(memory, block, bias.data(), dense_view(results.outputs.back(), out));
  }
  for (int block = 0; block < blocks; ++block)
    convolution.transform_gradients(memory, block, dense_view(scaled(given.d, static_cast<float>(block + 1)), out));
  for (int task = 0; task < convolution.sum_tasks(); ++task)
    convolution.sum_weight_gradients(memory, task, workspace.data());
  for (int task = 0; task < convolution.input_gradient_tasks(); ++task)
    convolution.multiply_input_gradients(memory, task);
  results.weight_gradient.assign(given.weights.size(), NAN);
  for (int task = 0; task < convolution.weight_gradient_tasks(); ++task)
    convolution.write_weight_gradients(memory, task, results.weight_gradient.data());
  for (int block = 0; block < blocks; ++block) {
    results.input_gradients.emplace_back(at(in.elements() * kLanes), NAN);
    convolution.write_input_gradients(memory, block, dense_view(results.input_gradients.back(), in));
  }
  return results;
}

int blocks_of(unsigned seed) { return static_cast<int>(seed % 4) + 1; }

Case3x3 case_of(unsigned seed) { return seed % 2 == 0 ? Case3x3::wide(seed) : Case3x3(seed + (seed % 5 == 0 ? 1 : 0)); }

std::vector<float> bias_of(const Case3x3& given) { return Random(1).numbers(at(given.shape.out.channels)); }

void expect_results(const BatchResults& results, const Case3x3& given, const std::vector<float>& bias, unsigned seed) {
  const std::vector<double> outputs = given.outputs({}), input_gradient = given.input_gradient();
  double squares = 0;
  for (std::size_t block = 0; block < results.outputs.size(); ++block) {
    const double factor = static_cast<double>(block) + 1;
    squares += factor * factor;
    std::vector<double> expected = scaled(outputs, factor);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i / at(given.shape.out.positions())];
    expect_last_image(results.outputs[block], expected, 2e-4 * factor, seed);
    expect_last_image(results.input_gradients[block], scaled(input_gradient, factor), 2e-4 * factor, seed);
  }
  expect_all(results.weight_gradient, scaled(given.weight_gradient(0), squares), 2e-4 * squares, seed);
}

TEST(BatchWinograd2d, MatchesTheDirectSums) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < kCases; ++seed) {
      const Case3x3 given = case_of(seed);
      const std::vector<float> bias = bias_of(given);
      expect_results(run_batch(table, given, blocks_of(seed), bias), given, bias, seed);
    }
  });
}

TEST(BatchWinograd2d, IsBitIdenticalWithAvx2AndAvx512) {
  if (!is_supported("avx512")) GTEST_SKIP() << "this CPU does not support AVX-512";
  for (unsigned seed = 0; seed < kCases; ++seed) {
    const Case3x3 given = case_of(seed);
    std::vector<BatchResults> results;
    for (const char* name : {"avx2", "avx512"}) {
      const ForcedInstructionSet forced(name);
      results.push_back(run_batch(kernels(), given, blocks_of(seed), bias_of(given)));
    }
    ASSERT_EQ(results[0], results[1]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
