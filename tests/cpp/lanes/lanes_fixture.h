#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/isa.h"
#include "mnistcnn/engine/lanes/lanes_engine.h"
#include "mnistcnn/network/analysis.h"

// Helpers of the lanes tests: loops over instruction sets, random numbers, and models with their tensors.
namespace mnistcnn::engine::lanes::testing {

// Sets MNISTCNN_ISA until it is destroyed.
class ForcedInstructionSet {
 public:
  explicit ForcedInstructionSet(const char* name) {
    if (const char* before = std::getenv("MNISTCNN_ISA")) before_ = before;
    setenv("MNISTCNN_ISA", name, 1);
  }
  ~ForcedInstructionSet() { before_.empty() ? unsetenv("MNISTCNN_ISA") : setenv("MNISTCNN_ISA", before_.c_str(), 1); }
  ForcedInstructionSet(const ForcedInstructionSet&) = delete;
  ForcedInstructionSet& operator=(const ForcedInstructionSet&) = delete;

 private:
  std::string before_;
};

inline bool is_supported(const char* name) {
  const ForcedInstructionSet forced(name);
  try {
    kernels();
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

inline void for_each_instruction_set(const std::function<void(const KernelTable&)>& check) {
  for (const char* name : {"baseline", "avx2", "avx512"}) {
    if (!is_supported(name)) continue;
    SCOPED_TRACE(name);
    const ForcedInstructionSet forced(name);
    check(kernels());
  }
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  float number(float low = -1, float high = 1) { return std::uniform_real_distribution<float>(low, high)(engine_); }
  int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  std::vector<float> numbers(std::size_t count, float low = -1, float high = 1) {
    std::vector<float> all(count);
    for (float& each : all) each = number(low, high);
    return all;
  }

 private:
  std::mt19937 engine_;
};

// A network with its tensors and an engine. Tensors of one kind are contiguous, so that tests can loop over them. Each
// call copies them to separate allocations and frees these afterwards, so that the address sanitizer reports accesses
// outside of a tensor and pointers that the engine keeps after the call. Checks the size of each batch, as the adapter
// does.
struct Model {
  network::Graph graph;
  network::Analysis analysis;
  std::vector<float> values, gradients, buffers;
  std::vector<std::int64_t> counters;
  std::unique_ptr<LanesEngine> engine;

  Model(network::Graph model_graph, int threads, unsigned seed = 1)
      : graph(std::move(model_graph)), analysis(network::analyse(graph)) {
    Random random(seed);
    values = random.numbers(static_cast<std::size_t>(analysis.parameter_count), -0.3f, 0.3f);
    gradients.assign(values.size(), -77);
    buffers.assign(static_cast<std::size_t>(analysis.buffer_count), 1);
    counters.assign(analysis.counters.size(), 0);
    engine = std::make_unique<LanesEngine>(graph, threads);
  }

  void forward(const float* images, std::int64_t count, Mode mode, Randomness randomness, bool image_gradients,
               float* outputs, common::ThreadPool::BorrowedThreads* borrowed = nullptr) {
    network::check_batch(graph, analysis, count, mode == Mode::kTrain);
    SeparateTensors tensors(*this);
    engine->forward(tensors.pointers(), images, count, mode, randomness,
                    image_gradients ? Keep::kForParametersAndImages : Keep::kForParameters, outputs, borrowed);
  }
  void backward(const float* output_gradients, float* image_gradients,
                common::ThreadPool::BorrowedThreads* borrowed = nullptr) {
    SeparateTensors tensors(*this);
    engine->backward(tensors.pointers(), output_gradients, image_gradients, borrowed);
  }
  void predict(const ImageBatch& batch, float* outputs) {
    network::check_batch(graph, analysis, static_cast<std::int64_t>(batch.indices.size()), false);
    SeparateTensors tensors(*this);
    engine->predict(tensors.pointers(), batch, outputs);
  }
  StepResult step(const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness) {
    network::check_batch(graph, analysis, static_cast<std::int64_t>(batch.indices.size()), true);
    SeparateTensors tensors(*this);
    return engine->step(tensors.pointers(), batch, labels, loss, randomness);
  }

 private:
  // The tensors of one kind, each in its own allocation.
  template <class Element>
  struct Tensors {
    std::vector<Element>& contiguous;
    std::vector<std::unique_ptr<Element[]>> allocations;
    std::vector<Element*> addresses;
    std::vector<std::pair<std::int64_t, std::int64_t>> ranges;

    void add(std::int64_t offset, std::int64_t count) {
      allocations.push_back(std::make_unique<Element[]>(static_cast<std::size_t>(count)));
      addresses.push_back(allocations.back().get());
      ranges.emplace_back(offset, count);
      std::copy_n(contiguous.data() + offset, count, addresses.back());
    }
    void copy_back() {
      for (std::size_t i = 0; i < allocations.size(); ++i)
        std::copy_n(addresses[i], ranges[i].second, contiguous.data() + ranges[i].first);
    }
  };

  struct SeparateTensors {
    Tensors<float> values, gradients, buffers;
    Tensors<std::int64_t> counters;
    std::vector<const float*> parameters;

    explicit SeparateTensors(Model& model)
        : values{model.values, {}, {}, {}},
          gradients{model.gradients, {}, {}, {}},
          buffers{model.buffers, {}, {}, {}},
          counters{model.counters, {}, {}, {}} {
      for (const network::TensorSpec& spec : model.analysis.parameters) {
        values.add(spec.offset, spec.count);
        gradients.add(spec.offset, spec.count);
      }
      for (const network::TensorSpec& spec : model.analysis.buffers) buffers.add(spec.offset, spec.count);
      for (std::size_t i = 0; i < model.counters.size(); ++i) counters.add(static_cast<std::int64_t>(i), 1);
      parameters.assign(values.addresses.begin(), values.addresses.end());
    }
    ~SeparateTensors() {
      gradients.copy_back();
      buffers.copy_back();
      counters.copy_back();
    }
    SeparateTensors(const SeparateTensors&) = delete;
    SeparateTensors& operator=(const SeparateTensors&) = delete;

    TensorPointers pointers() const { return {parameters, gradients.addresses, buffers.addresses, counters.addresses}; }
  };
};

// Return a graph whose nodes form a sequence.
inline network::Graph sequential(network::Shape input, std::vector<network::Layer> layers) {
  network::Graph graph{std::move(input), {}};
  for (std::size_t i = 0; i < layers.size(); ++i)
    graph.nodes.push_back({"n" + std::to_string(i), layers[i], {static_cast<int>(i) - 1}});
  return graph;
}

inline network::Conv2d convolution(std::int64_t out, std::int64_t kernel, std::int64_t padding = 0) {
  network::Conv2d layer;
  layer.out_channels = out;
  layer.kernel = {kernel, kernel};
  layer.padding = {padding, padding, padding, padding};
  return layer;
}

}  // namespace mnistcnn::engine::lanes::testing
