#include <atomic>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "lanes/lanes_fixture.h"
#include "mnistcnn/engine/lanes/runtime/program.h"

// Tests of the memory of the engine: failed requests, shrinking, and no allocation on the threads of the pool.

namespace mnistcnn::engine::lanes::testing {
namespace {

Model small_model(int threads = 2) {
  return {sequential({1, 28, 28}, {convolution(8, 3), network::ReLU{}, network::Flatten{}, network::Linear{10, true}}),
          threads};
}

std::vector<float> outputs_of(Model& model, std::int64_t count) {
  const std::vector<float> images(static_cast<std::size_t>(count * 28 * 28), 0.25f);
  std::vector<float> outputs(static_cast<std::size_t>(count * 10));
  model.forward(images.data(), count, Mode::kTrain, {}, false, outputs.data());
  return outputs;
}

TEST(BatchMemory, SmallBatchFollowsAFailedRequest) {
  Model model = small_model();
  const std::vector<float> expected = outputs_of(model, 20);
  const std::size_t bytes = model.engine->arena_bytes();
  const std::int64_t huge = std::int64_t{1} << 34;  // petabytes, more than the address space
  EXPECT_THROW(model.forward(nullptr, huge, Mode::kTrain, {}, false, nullptr), std::bad_alloc);
  EXPECT_EQ(model.engine->arena_bytes(), 0);
  EXPECT_EQ(outputs_of(model, 20), expected);
  EXPECT_EQ(model.engine->arena_bytes(), bytes);
}

TEST(BatchMemory, ErrorOfAFailedRequestStatesTheSize) {
  Model model = small_model();
  try {
    model.forward(nullptr, std::int64_t{1} << 34, Mode::kTrain, {}, false, nullptr);
    FAIL();
  } catch (const std::bad_alloc& error) {
    EXPECT_NE(std::string(error.what()).find("MiB"), std::string::npos) << error.what();
  }
}

TEST(BatchMemory, ShrinksAfterManySmallBatches) {
  Model model = small_model();
  const std::vector<float> expected = outputs_of(model, 20);
  const std::size_t small = model.engine->arena_bytes();
  outputs_of(model, 2000);
  const std::size_t large = model.engine->arena_bytes();
  ASSERT_GT(large, 4 * small);
  for (int i = 0; i < 255; ++i) outputs_of(model, 20);
  EXPECT_EQ(model.engine->arena_bytes(), large);
  EXPECT_EQ(outputs_of(model, 20), expected);
  EXPECT_EQ(model.engine->arena_bytes(), small);
  EXPECT_EQ(outputs_of(model, 20), expected);
}

TEST(BatchMemory, KeepsItsSizeWhileLargeAndSmallBatchesAlternate) {
  Model model = small_model();
  outputs_of(model, 2000);
  const std::size_t large = model.engine->arena_bytes();
  for (int i = 0; i < 200; ++i) outputs_of(model, 20);
  outputs_of(model, 1900);
  for (int i = 0; i < 200; ++i) outputs_of(model, 20);
  EXPECT_EQ(model.engine->arena_bytes(), large);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
