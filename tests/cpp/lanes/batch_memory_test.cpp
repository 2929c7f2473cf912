#include <atomic>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "lanes/lanes_fixture.h"
#include "mnistcnn/engine/lanes/runtime/program.h"

// Tests of the memory of the engine: failed requests, shrinking, and no allocation on the threads of the pool.

// The sanitizers have their own operator new. noinline: GCC warns of a mismatch if it inlines only one of a pair.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS

namespace {

std::atomic<bool> counts_allocations{false};
std::atomic<bool> allocations_fail{false};
std::atomic<int> allocations{0};

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (counts_allocations) ++allocations;
  if (allocations_fail) throw std::bad_alloc();
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

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

#if defined(COUNTS_ALLOCATIONS)
// Pointers to the tensors of a model, which its own methods would copy.
struct Pointers {
  std::vector<const float*> parameters;
  std::vector<float*> gradients, buffers;
  std::vector<std::int64_t*> counters;

  explicit Pointers(Model& model) {
    std::int64_t offset = 0;
    for (const auto& each : model.analysis.parameters) {
      parameters.push_back(model.values.data() + offset);
      gradients.push_back(model.gradients.data() + offset);
      offset += each.count;
    }
    offset = 0;
    for (const auto& each : model.analysis.buffers) {
      buffers.push_back(model.buffers.data() + offset);
      offset += each.count;
    }
    for (std::int64_t& each : model.counters) counters.push_back(&each);
  }
  TensorPointers pointers() const { return {parameters, gradients, buffers, counters}; }
};

// A function on a thread of the pool must not allocate memory: it could not report a failure.
void expect_no_allocations(const network::Graph& graph) {
  Model model(graph, 2);
  const Pointers tensors(model);
  const std::int64_t count = 40, size = network::element_count(graph.input_shape);
  const std::vector<std::uint8_t> images(static_cast<std::size_t>(count * size), 7);
  const std::vector<float> floats(images.size(), 0.5f), scale(4, 1 / 128.0f), shift(4, -1);
  std::vector<std::int64_t> indices, labels;
  for (std::int64_t i = 0; i < count; ++i) indices.push_back(i), labels.push_back(i % 10);
  std::vector<float> outputs(static_cast<std::size_t>(count) * 10), image_gradients(floats.size());
  for (const bool counted : {false, true}) {  // the first calls allocate the engine's memory
    counts_allocations = counted;
    const ImageBatch batch{images.data(), indices, scale, shift};
    model.engine->step(tensors.pointers(), batch, labels, {}, {});
    model.engine->predict(tensors.pointers(), batch, outputs.data());
    model.engine->forward(tensors.pointers(), floats.data(), count, Mode::kTrain, {}, Keep::kForParametersAndImages,
                          outputs.data());
    model.engine->backward(tensors.pointers(), outputs.data(), image_gradients.data());
  }
  counts_allocations = false;
  EXPECT_EQ(allocations.exchange(0), 0);
}

TEST(BatchMemory, LaterCallsAllocateNothing) {
  network::Graph graph{{1, 12, 11}, {}};
  const auto add = [&](network::Layer layer, std::vector<int> inputs) {
    graph.nodes.push_back({"n" + std::to_string(graph.nodes.size()), std::move(layer), std::move(inputs)});
  };
  network::Conv2d biased = convolution(6, 3, 1);
  biased.bias = true;
  add(biased, {-1});
  add(network::BatchNorm2d{}, {0});
  add(network::ReLU{}, {1});
  add(biased, {2});
  add(network::Concat{}, {2, 3});
  add(network::Dropout{0.1}, {4});
  add(network::Flatten{}, {5});
  add(network::Linear{12, true}, {6});
  add(network::BatchNorm1d{}, {7});
  add(network::PReLU{}, {8});
  add(network::Linear{10, true}, {9});
  expect_no_allocations(graph);
  graph.nodes[7].layer = network::Linear{2000, true};  // over the whole batch
  expect_no_allocations(graph);
}

TEST(BatchMemory, CallAfterAFailedStepIsNotRecorded) {
  Model model = small_model();
  const Pointers tensors(model);
  const std::vector<std::uint8_t> images(20 * 28 * 28, 7);
  const std::vector<float> floats(images.size(), 0.5f), scale(1, 1 / 128.0f), shift(1, -1);
  std::vector<std::int64_t> indices, labels;
  for (std::int64_t i = 0; i < 20; ++i) indices.push_back(i), labels.push_back(i % 10);
  std::vector<float> outputs(20 * 10);
  const ImageBatch batch{images.data(), indices, scale, shift};
  model.engine->step(tensors.pointers(), batch, labels, {}, {});  // allocates the engine's memory
  model.engine->start_task_times();
  bool failed = false;
  allocations_fail = true;
  try {
    model.engine->step(tensors.pointers(), batch, labels, {}, {});  // only the recorder allocates memory
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  allocations_fail = false;
  EXPECT_TRUE(failed);
  model.engine->forward(tensors.pointers(), floats.data(), 20, Mode::kTrain, {}, Keep::kNothing, outputs.data());
  EXPECT_TRUE(model.engine->stop_task_times().empty());
}

#endif

TEST(Program, AcceptsOnlyNoexceptFunctions) {
  const auto throwing = [](const BlockContext&) {};
  const auto safe = [](const BlockContext&) noexcept {};
  static_assert(!StageFunction<decltype(throwing), const BlockContext&>);
  static_assert(StageFunction<decltype(safe), const BlockContext&>);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
