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

// What the lanes tests share: every instruction set of this machine, random numbers, and models in memory.
namespace mnistcnn::engine::lanes::testing {

// Sets MNISTCNN_ISA while it lives.
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

inline bool runs_here(const char* name) {
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
    if (!runs_here(name)) continue;
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

// A network with its tensors and an engine. Tensors of one kind are contiguous, so that a test can loop over them. For
// each call they are copied to separate allocations, which are freed afterwards: the address sanitizer then reports an
// access outside of a tensor, and the use of a pointer that the engine has kept.
struct Model {
  network::Graph graph;
  network::Analysis analysis;
  std::vector<float> values, gradients, buffers;
  std::vector<std::int64_t> counters;
  std::unique_ptr<LanesEngine> engine;

  Model(network::Graph the_graph, int threads, unsigned seed = 1)
      : graph(std::move(the_graph)), analysis(network::analyse(graph)) {
    Random random(seed);
    values = random.numbers(static_cast<std::size_t>(analysis.parameter_count), -0.3f, 0.3f);
    gradients.assign(values.size(), -77);
    buffers.assign(static_cast<std::size_t>(analysis.buffer_count), 1);
    counters.assign(analysis.counters.size(), 0);
    engine = std::make_unique<LanesEngine>(graph, threads);
  }

  void forward(const float* images, std::int64_t count, Mode mode, Randomness randomness, bool image_gradients,
               float* outputs, common::ThreadPool::BorrowedThreads* borrowed = nullptr) {
    Separate tensors(*this);
    engine->forward(tensors.pointers(), images, count, mode, randomness,
                    image_gradients ? Keep::kForParametersAndImages : Keep::kForParameters, outputs, borrowed);
  }
  void backward(const float* output_gradients, float* image_gradients,
                common::ThreadPool::BorrowedThreads* borrowed = nullptr) {
    Separate tensors(*this);
    engine->backward(tensors.pointers(), output_gradients, image_gradients, borrowed);
  }
  void predict(const ImageBatch& batch, float* outputs) {
    Separate tensors(*this);
    engine->predict(tensors.pointers(), batch, outputs);
  }
  StepResult step(const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness) {
    Separate tensors(*this);
    return engine->step(tensors.pointers(), batch, labels, loss, randomness);
  }

 private:
  // The tensors of one kind, each in an allocation of its own while this lives.
  template <class Element>
  struct Tensors {
    std::vector<Element>& flat;
    std::vector<std::unique_ptr<Element[]>> own;
    std::vector<Element*> addresses;
    std::vector<std::pair<std::int64_t, std::int64_t>> ranges;

    void add(std::int64_t offset, std::int64_t count) {
      own.push_back(std::make_unique<Element[]>(static_cast<std::size_t>(count)));
      addresses.push_back(own.back().get());
      ranges.emplace_back(offset, count);
      std::copy_n(flat.data() + offset, count, addresses.back());
    }
    void copy_back() {
      for (std::size_t i = 0; i < own.size(); ++i)
        std::copy_n(addresses[i], ranges[i].second, flat.data() + ranges[i].first);
    }
  };

  struct Separate {
    Tensors<float> values, gradients, buffers;
    Tensors<std::int64_t> counters;
    std::vector<const float*> readable;

    explicit Separate(Model& model)
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
      readable.assign(values.addresses.begin(), values.addresses.end());
    }
    ~Separate() {
      gradients.copy_back();
      buffers.copy_back();
      counters.copy_back();
    }
    Separate(const Separate&) = delete;
    Separate& operator=(const Separate&) = delete;

    TensorPointers pointers() const { return {readable, gradients.addresses, buffers.addresses, counters.addresses}; }
  };
};

// Nodes in a row.
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
