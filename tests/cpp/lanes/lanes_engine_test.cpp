#include "mnistcnn/engine/lanes/lanes_engine.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "lanes/lanes_fixture.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"

// Tests of the whole engine: bit-identical results, gradients, batch sizes, errors, threads and processes.
namespace mnistcnn::engine::lanes::testing {
namespace {

using network::Graph;

// Convolutions of several kinds, batch norm before and after an activation, dropout, pools, a branch, and linear layers
// of both kinds.
Graph varied_graph() {
  network::Conv2d depthwise = convolution(6, 3, 1);
  depthwise.groups = 6;
  network::Conv2d strided = convolution(8, 3, 1);
  strided.stride = {2, 2};
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  Graph graph{{1, 12, 11}, {}};
  const auto add = [&](network::Layer layer, std::vector<int> inputs) {
    graph.nodes.push_back({"n" + std::to_string(graph.nodes.size()), std::move(layer), std::move(inputs)});
  };
  add(convolution(6, 3, 1), {-1});
  add(network::BatchNorm2d{}, {0});
  add(network::ReLU{}, {1});
  add(depthwise, {2});
  add(network::LeakyReLU{}, {3});
  add(network::BatchNorm2d{}, {4});
  add(network::Add{}, {5, 2});
  add(network::Dropout{0.2}, {6});
  add(pool, {7});
  add(strided, {8});
  add(network::Tanh{}, {9});
  add(network::Flatten{}, {10});
  add(network::Linear{2000, true}, {11});  // large: BatchLinearOp
  add(network::BatchNorm1d{}, {12});
  add(network::ReLU{}, {13});
  add(network::Linear{10, true}, {14});
  add(network::LogSoftmax{}, {15});
  return graph;
}

// 3x3 convolutions with many channels: 2-D Winograd per block, and over the whole batch.
Graph wide_graph() {
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  return sequential({1, 14, 13}, {convolution(48, 3, 1), network::ReLU{}, pool, convolution(160, 3, 1),
                                  network::BatchNorm2d{}, network::ReLU{}, convolution(144, 3), network::ReLU{},
                                  network::Flatten{}, network::Linear{10, true}, network::LogSoftmax{}});
}

struct Outcome {
  std::vector<float> gradients, buffers, outputs;
  double loss = 0;
  bool operator==(const Outcome&) const = default;
};

std::vector<std::uint8_t> some_images(std::size_t count, std::size_t size) {
  Random random(4);
  std::vector<std::uint8_t> images(count * size);
  for (auto& pixel : images) pixel = static_cast<std::uint8_t>(random.whole(0, 255));
  return images;
}

Outcome train_steps(Model& model, std::initializer_list<int> batch_sizes) {
  const std::size_t size = static_cast<std::size_t>(network::element_count(model.graph.input_shape));
  const std::vector<std::uint8_t> images = some_images(200, size);
  const std::vector<float> scale(3, 1 / 128.0f), shift(3, -1);
  Outcome outcome;
  std::uint64_t step = 0;
  for (const int count : batch_sizes) {
    std::vector<std::int64_t> indices, labels;
    for (int i = 0; i < count; ++i) indices.push_back((i * 7 + count) % 200), labels.push_back((i * 3 + count) % 10);
    const ImageBatch batch{images.data(), indices, scale, shift};
    outcome.loss += model.step(batch, labels, {LossKind::kNegativeLogLikelihood, 0.1}, {5, step++}).loss_sum;
    outcome.gradients.insert(outcome.gradients.end(), model.gradients.begin(), model.gradients.end());
    std::vector<float> outputs(static_cast<std::size_t>(count) * 10);
    model.predict(batch, outputs.data());
    outcome.outputs.insert(outcome.outputs.end(), outputs.begin(), outputs.end());
  }
  outcome.buffers = model.buffers;
  return outcome;
}

void expect_same_bits(const Graph& graph) {
  Model single_threaded(graph, 1);
  const Outcome expected = train_steps(single_threaded, {64, 33});
  for (const int threads : {2, 3, 8}) {
    Model model(graph, threads);
    EXPECT_EQ(train_steps(model, {64, 33}), expected) << threads << " threads";
  }
  if (!is_supported("avx2") || !is_supported("avx512"))
    GTEST_SKIP() << "this CPU does not support both AVX2 and AVX-512";
  Outcome each[2];
  for (int i = 0; i < 2; ++i) {
    const ForcedInstructionSet forced(i == 0 ? "avx2" : "avx512");
    Model model(graph, 2);
    EXPECT_EQ(model.engine->instruction_set(), i == 0 ? "avx2" : "avx512");
    each[i] = train_steps(model, {64, 33});
  }
  EXPECT_EQ(each[0], each[1]);
}

TEST(LanesEngine, IsBitIdenticalForAnyNumberOfThreadsAndWithAvx2AndAvx512) { expect_same_bits(varied_graph()); }

TEST(LanesEngine, WideConvolutionsAreBitIdenticalForAnyNumberOfThreadsAndWithAvx2AndAvx512) {
  expect_same_bits(wide_graph());
}

// 3x3 convolutions for which all algorithms are selected, dropout before and after a pool, and a branch.
Graph graph_of_convolutions() {
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  const network::BatchNorm2d norm;
  const network::ReLU relu;
  const network::Dropout dropout{0.1};
  Graph graph = sequential({1, 29, 26}, {convolution(8, 3),
                                         norm,
                                         relu,
                                         convolution(12, 3, 1),
                                         relu,
                                         norm,
                                         dropout,
                                         pool,
                                         convolution(32, 3, 1),
                                         norm,
                                         relu,
                                         convolution(48, 3, 1),
                                         network::LeakyReLU{},
                                         convolution(40, 3, 1),
                                         norm,
                                         relu,
                                         pool,
                                         dropout,
                                         convolution(36, 1),
                                         norm});
  graph.nodes.push_back({"branch", convolution(36, 3, 1), {18}});
  graph.nodes.push_back({"sum", network::Add{}, {19, 20}});
  graph.nodes.push_back({"flatten", network::Flatten{}, {21}});
  graph.nodes.push_back({"linear", network::Linear{10, true}, {22}});
  graph.nodes.push_back({"outputs", network::LogSoftmax{}, {23}});
  return graph;
}

TEST(LanesEngine, IsBitIdenticalIfSeveralThreadsComputeABlock) {
  for (const Graph& graph : {varied_graph(), graph_of_convolutions(), wide_graph()}) {
    Model single(graph, 1);
    const Outcome expected = train_steps(single, {16, 33, 7});
    for (const int threads : {2, 3, 4, 7, 16}) {
      Model model(graph, threads);
      EXPECT_EQ(train_steps(model, {16, 33, 7}), expected) << threads << " threads";
    }
  }
}

TEST(LanesEngine, ImageGradientsAreBitIdenticalIfSeveralThreadsComputeABlock) {
  for (const Graph& graph : {varied_graph(), graph_of_convolutions(), wide_graph()}) {
    const auto size = static_cast<std::size_t>(network::element_count(graph.input_shape));
    Random random(3);
    const std::vector<float> images = random.numbers(20 * size), output_gradients = random.numbers(20 * 10);
    const auto gradients = [&](int threads) {
      Model model(graph, threads);
      std::vector<float> outputs(20 * 10), image_gradients(images.size());
      model.forward(images.data(), 20, Mode::kTrain, {1, 2}, true, outputs.data());
      model.backward(output_gradients.data(), image_gradients.data());
      outputs.insert(outputs.end(), image_gradients.begin(), image_gradients.end());
      outputs.insert(outputs.end(), model.gradients.begin(), model.gradients.end());
      return outputs;
    };
    const std::vector<float> expected = gradients(1);
    for (const int threads : {2, 5, 8}) EXPECT_EQ(gradients(threads), expected) << threads << " threads";
  }
}

// A first convolution that is fused with ReLU, a pool that leaves out a row and a column, and dropout. The convolution
// after it reads the pool's output with padding. `between`: layer between the convolution and the ReLU.
Graph pooled_graph(const network::Layer& between, bool relu, bool dropout) {
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  network::Conv2d first = convolution(10, 3, 1);
  first.dilation = {1, 2};
  const network::Dropout none{0};
  return sequential({2, 17, 15}, {first, between, relu ? network::Layer{network::ReLU{}} : network::Layer{none}, pool,
                                  dropout ? network::Dropout{0.3, true} : none, convolution(6, 5, 2), network::ReLU{},
                                  pool, network::Flatten{}, network::Linear{10, true}, network::LogSoftmax{}});
}

std::vector<Graph> pooled_graphs(const network::Layer& between) {
  std::vector<Graph> graphs;
  for (const bool relu : {false, true})
    for (const bool dropout : {false, true}) graphs.push_back(pooled_graph(between, relu, dropout));
  return graphs;
}

TEST(LanesEngine, ConvolutionsFusedWithPoolsAreBitIdenticalToSeparateOperations) {
  // A scale of 1 changes no value, but prevents the fusion with the pool.
  const std::vector<Graph> fused = pooled_graphs(network::Dropout{0}),
                           separate = pooled_graphs(network::ScaleShift{1, 0});
  for (std::size_t i = 0; i < fused.size(); ++i) {
    Model expected(separate[i], 1);
    const Outcome outcome = train_steps(expected, {64, 33});
    for (const int threads : {1, 2, 3, 9}) {
      Model model(fused[i], threads);
      EXPECT_EQ(train_steps(model, {64, 33}), outcome) << i << ", " << threads << " threads";
    }
  }
}

// First convolutions and others that are fused with the layers after them.
std::vector<Graph> fused_graphs() {
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {2, 2};
  const network::BatchNorm2d norm;
  const network::ReLU relu;
  const network::Linear linear{10, true};
  std::vector<Graph> graphs = pooled_graphs(network::Dropout{0});
  graphs.push_back(varied_graph());
  graphs.push_back(sequential({1, 13, 12}, {convolution(9, 3, 1), norm, relu, network::Dropout{0.2}, pool,
                                            network::Flatten{}, linear, network::LogSoftmax{}}));
  // SiLU writes its output to memory, and the next convolution copies it.
  graphs.push_back(sequential({1, 13, 12}, {convolution(6, 4), network::SiLU{}, norm, convolution(5, 3, 1),
                                            network::SiLU{}, convolution(7, 5, 2), network::Flatten{}, linear}));
  graphs.push_back(sequential({1, 6, 6}, {convolution(130, 3, 1), network::SiLU{}, convolution(130, 3, 1), norm, pool,
                                          network::Flatten{}, linear}));
  // A pool after the second convolution, whose output is read with padding, and one that computes the outputs of the
  // network.
  graphs.push_back(sequential({1, 14, 14}, {convolution(4, 3, 1), norm, relu, convolution(6, 5, 2), relu, pool,
                                            convolution(5, 5, 2), network::Flatten{}, linear}));
  graphs.push_back(sequential({1, 5, 5}, {convolution(10, 4), relu, pool, network::Flatten{}}));
  return graphs;
}

constexpr std::int64_t kFewImages = 37;

// Return the gradients of the parameters for some images and output gradients.
std::vector<float> parameter_gradients(Model& model, Mode mode, bool image_gradients) {
  Random random(6);
  const std::vector<float> images =
      random.numbers(kFewImages * static_cast<std::size_t>(network::element_count(model.graph.input_shape)));
  const std::vector<float> output_gradients = random.numbers(kFewImages * 10);
  std::vector<float> outputs(output_gradients.size()), of_images(images.size());
  model.forward(images.data(), kFewImages, mode, {1, 2}, image_gradients, outputs.data());
  model.backward(output_gradients.data(), image_gradients ? of_images.data() : nullptr);
  return model.gradients;
}

// With gradients of the images, the backward pass computes whole maps instead of rows.
TEST(LanesEngine, GradientsOfParametersDoNotDependOnImageGradients) {
  for (const Graph& graph : fused_graphs()) {
    const bool is_wide = graph.input_shape[1] == 6;  // selects another algorithm if image gradients are requested
    if (is_wide) continue;
    for (const Mode mode : {Mode::kTrain, Mode::kEvaluate})
      for (const int threads : {1, 8}) {
        Model without(graph, threads), with(graph, threads);
        EXPECT_EQ(parameter_gradients(without, mode, false), parameter_gradients(with, mode, true))
            << graph.nodes.size() << " nodes, " << threads << " threads";
      }
  }
}

// Memory contains values of an earlier call of the other kind.
TEST(LanesEngine, GradientsDoNotDependOnEarlierCalls) {
  constexpr int kThreads = 3;
  for (const Graph& graph : fused_graphs())
    for (const bool image_gradients : {false, true}) {
      Model fresh(graph, kThreads), used(graph, kThreads);
      parameter_gradients(used, Mode::kTrain, !image_gradients);
      EXPECT_EQ(parameter_gradients(used, Mode::kTrain, image_gradients),
                parameter_gradients(fresh, Mode::kTrain, image_gradients))
          << graph.nodes.size() << " nodes";
    }
}

TEST(LanesEngine, ImageSourceIsBitIdenticalToStoredImages) {
  class Reversed final : public ImageSource {
   public:
    Reversed(const std::vector<std::uint8_t>& images, std::size_t size) : images_(images), size_(size) {}
    std::size_t scratch_bytes() const override { return size_; }
    void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept override {
      std::memcpy(scratch, images_.data() + static_cast<std::size_t>(index) * size_, size_);
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(scratch);
      std::reverse_copy(bytes, bytes + size_, image);
    }

   private:
    const std::vector<std::uint8_t>& images_;
    std::size_t size_;
  };
  const std::size_t size = 132;
  const std::vector<std::uint8_t> images = some_images(40, size);
  std::vector<std::uint8_t> reversed = images;
  for (std::size_t i = 0; i < 40; ++i)
    std::reverse(reversed.begin() + static_cast<long>(i * size), reversed.begin() + static_cast<long>((i + 1) * size));
  const Reversed source(images, size);
  const std::vector<float> scale{1 / 128.0f}, shift{-1};
  const auto train = [&](const std::uint8_t* stored, const ImageSource* made, int threads) {
    Model model(varied_graph(), threads);
    std::vector<float> outputs;
    for (const int count : {40, 17}) {
      std::vector<std::int64_t> indices, labels;
      for (int i = 0; i < count; ++i) indices.push_back((i * 7) % 40), labels.push_back(i % 10);
      const ImageBatch batch{stored, indices, scale, shift, made};
      model.step(batch, labels, {}, {5, 0});
      outputs.resize(static_cast<std::size_t>(count) * 10);
      model.predict(batch, outputs.data());
    }
    return std::pair(model.gradients, outputs);
  };
  const auto expected = train(reversed.data(), nullptr, 1);
  for (const int threads : {1, 2, 5}) EXPECT_EQ(train(nullptr, &source, threads), expected) << threads << " threads";
}

TEST(LanesEngine, UnknownInstructionSetThrowsWithTheSupportedOnes) {
  const ForcedInstructionSet forced("mmx");
  try {
    kernels();
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("baseline"), std::string::npos);
  }
}

// The gradient of every parameter of a small network, compared with central differences of the loss.
TEST(LanesEngine, GradientsAreTheDerivativesOfTheLoss) {
  network::Conv2d odd = convolution(3, 2, 1);
  odd.stride = {2, 1};
  odd.dilation = {1, 2};
  Model model(sequential({2, 6, 5}, {odd, network::BatchNorm2d{}, network::Sigmoid{}, network::Flatten{},
                                     network::Linear{4, true}}),
              2);
  Random random(8);
  for (const int count : {2, 17}) {
    const std::vector<float> images = random.numbers(static_cast<std::size_t>(count) * 60);
    std::vector<float> outputs(static_cast<std::size_t>(count) * 4), weights = random.numbers(outputs.size());
    const auto loss = [&] {
      model.forward(images.data(), count, Mode::kTrain, {}, false, outputs.data());
      double sum = 0;
      for (std::size_t i = 0; i < outputs.size(); ++i) sum += static_cast<double>(outputs[i]) * weights[i];
      return sum;
    };
    loss();
    model.backward(weights.data(), nullptr);
    const std::vector<float> gradients = model.gradients;
    for (std::size_t i = 0; i < model.values.size(); ++i) {
      const float before = model.values[i], h = 1e-2f;
      model.values[i] = before + h;
      const double above = loss();
      model.values[i] = before - h;
      const double below = loss();
      model.values[i] = before;
      EXPECT_NEAR(gradients[i], (above - below) / (2 * h), 2e-3 * count)
          << "parameter " << i << " of " << count << " images";
    }
  }
}

// Without batch norm, the gradient of a batch is the mean of the gradients of its images.
TEST(LanesEngine, GradientOfAnyBatchSizeIsTheMeanOverImages) {
  const Graph graph =
      sequential({1, 9, 8}, {convolution(5, 3), network::ReLU{}, network::Flatten{}, network::Linear{10, true}});
  const std::vector<std::uint8_t> images = some_images(1000, 72);
  const std::vector<float> scale{1 / 255.0f}, shift{0};
  Model model(graph, 2), single(graph, 1);
  const auto gradients_of = [&](Model& which, std::int64_t first, std::int64_t count) {
    std::vector<std::int64_t> indices, labels;
    for (std::int64_t i = first; i < first + count; ++i) indices.push_back(i), labels.push_back(i % 10);
    return which.step({images.data(), indices, scale, shift}, labels, {}, {}).loss_sum;
  };
  std::vector<double> sum(model.values.size(), 0);
  double loss = 0;
  std::int64_t done = 0;
  for (const int count : {1, 15, 16, 17, 96, 100, 128, 1000}) {
    for (; done < count; ++done) {
      loss += gradients_of(single, done, 1);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += single.gradients[i];
    }
    EXPECT_NEAR(gradients_of(model, 0, count), loss, 1e-4 * count);
    for (std::size_t i = 0; i < sum.size(); ++i)
      ASSERT_NEAR(model.gradients[i], sum[i] / count, 2e-6) << count << " images";
  }
}

TEST(LanesEngine, BatchNormStatisticsAreAccurateForALargeMean) {
  network::BatchNorm2d norm;
  norm.momentum = 1;  // the running statistics are the batch's
  Model model(sequential({2, 7, 9}, {norm}), 2);
  Random random(2);
  const int count = 50, positions = 63;
  std::vector<float> images(count * 2 * positions), outputs(images.size());
  for (float& each : images) each = 5000 + random.number();
  model.forward(images.data(), count, Mode::kTrain, {}, false, outputs.data());
  for (int c = 0; c < 2; ++c) {
    double mean = 0, squares = 0;
    const auto visit = [&](auto use) {
      for (int n = 0; n < count; ++n)
        for (int p = 0; p < positions; ++p) use(images[static_cast<std::size_t>((n * 2 + c) * positions + p)]);
    };
    visit([&](double v) { mean += v / (count * positions); });
    visit([&](double v) { squares += (v - mean) * (v - mean); });
    EXPECT_NEAR(model.buffers[static_cast<std::size_t>(c)], mean, 1e-3);
    EXPECT_NEAR(model.buffers[static_cast<std::size_t>(2 + c)], squares / (count * positions - 1), 1e-6);
  }
}

TEST(LanesEngine, BatchNormOfOneValuePerChannelThrowsInTraining) {
  Model model(sequential({3, 1, 1}, {network::BatchNorm2d{}}), 1);
  std::vector<float> images(3, 1), outputs(3);
  EXPECT_THROW(model.forward(images.data(), 1, Mode::kTrain, {}, false, outputs.data()), std::invalid_argument);
  EXPECT_NO_THROW(model.forward(images.data(), 1, Mode::kEvaluate, {}, false, outputs.data()));
}

TEST(LanesEngine, UnsupportedNetworkIsReportedWithItsNode) {
  network::InstanceNorm2d norm;
  norm.track_running_stats = true;
  const Graph graph = sequential({1, 4, 4}, {norm});
  const auto reason = unsupported_reason(graph, network::analyse(graph));
  ASSERT_TRUE(reason);
  EXPECT_NE(reason->find("'n0'"), std::string::npos);
  EXPECT_FALSE(unsupported_reason(varied_graph(), network::analyse(varied_graph())));
}

TEST(LanesEngine, MapsWhoseOffsetsExceed32BitsAreNotSupported) {
  network::Conv2d padded;
  padded.out_channels = 1;
  padded.padding = {6000, 6000, 6000, 6000};
  network::MaxPool2d pool;
  pool.kernel = pool.stride = {1 << 14, 1 << 14};
  for (const Graph& graph : {sequential({1, 4, 4}, {padded}), sequential({1, 1 << 14, 1 << 14}, {pool})}) {
    const auto reason = unsupported_reason(graph, network::analyse(graph));
    ASSERT_TRUE(reason);
    EXPECT_NE(reason->find("134217727 elements"), std::string::npos) << *reason;
    EXPECT_THROW(LanesEngine(graph, 1), std::invalid_argument);
  }
}

TEST(LanesEngine, InvalidStepsThrow) {
  Model model(sequential({1, 4, 4}, {network::Flatten{}, network::Linear{3, true}}), 1);
  const std::vector<std::uint8_t> images(16);
  const std::vector<std::int64_t> indices{0}, wrong{3}, none;
  const std::vector<float> one{1};
  EXPECT_THROW(model.step({images.data(), indices, one, one}, wrong, {}, {}), std::invalid_argument);
  EXPECT_THROW(model.step({images.data(), indices, one, one}, none, {}, {}), std::invalid_argument);
  EXPECT_THROW(model.backward(one.data(), nullptr), std::invalid_argument);
}

TEST(LanesEngine, SecondBackwardThrows) {
  Model model(sequential({1, 4, 4}, {network::Flatten{}, network::Linear{3, true}}), 1);
  const std::vector<float> image(16, 0.5f), gradients(3, 1.0f);
  std::vector<float> outputs(3);
  model.forward(image.data(), 1, Mode::kTrain, {}, false, outputs.data());
  model.backward(gradients.data(), nullptr);
  EXPECT_THROW(model.backward(gradients.data(), nullptr), std::invalid_argument);
}

TEST(LanesEngine, TwoEnginesRunConcurrently) {
  Model single_threaded(varied_graph(), 1);
  const Outcome expected = train_steps(single_threaded, {40, 20});
  Outcome outcomes[2];
  std::vector<std::thread> threads;
  for (Outcome& outcome : outcomes)
    threads.emplace_back([&outcome] {
      Model model(varied_graph(), 2);
      outcome = train_steps(model, {40, 20});
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(outcomes[0], expected);
  EXPECT_EQ(outcomes[1], expected);
}

#if !defined(__SANITIZE_THREAD__)
TEST(LanesEngine, WorksInAForkedProcess) {
  Model model(varied_graph(), 2);
  train_steps(model, {20});
  Model fresh(varied_graph(), 1);
  const Outcome expected = train_steps(fresh, {20});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    std::fill(model.buffers.begin(), model.buffers.end(), 1.0f);
    _exit(train_steps(model, {20}) == expected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

// BatchLinearOp with numbers of inputs and outputs that no tile divides.
TEST(LanesEngine, LargeLinearLayersMatchTheDirectSum) {
  constexpr std::int64_t kInputs = 333, kOutputs = 405;
  Model model(sequential({1, 1, kInputs}, {network::Flatten{}, network::Linear{kOutputs, true}}), 2);
  const auto value = [](const std::vector<float>& matrix, std::int64_t row, std::int64_t columns, std::int64_t column) {
    return static_cast<double>(matrix[static_cast<std::size_t>(row * columns + column)]);
  };
  for (const std::int64_t count : {1, 15, 100, 1000}) {
    Random random(7);
    const std::vector<float> images = random.numbers(static_cast<std::size_t>(count * kInputs)),
                             d = random.numbers(static_cast<std::size_t>(count * kOutputs));
    std::vector<float> outputs(d.size()), image_gradients(images.size());
    model.forward(images.data(), count, Mode::kTrain, {}, true, outputs.data());
    model.backward(d.data(), image_gradients.data());
    const double tolerance = 1e-5 * static_cast<double>(kOutputs + count);
    for (int sample = 0; sample < 500; ++sample) {
      const std::int64_t image = random.whole(0, static_cast<int>(count) - 1), i = random.whole(0, kInputs - 1),
                         o = random.whole(0, kOutputs - 1);
      double output = value(model.values, kOutputs, kInputs, o), image_gradient = 0, weight_gradient = 0,
             bias_gradient = 0;
      for (std::int64_t k = 0; k < kInputs; ++k)
        output += value(model.values, o, kInputs, k) * value(images, image, kInputs, k);
      for (std::int64_t k = 0; k < kOutputs; ++k)
        image_gradient += value(model.values, k, kInputs, i) * value(d, image, kOutputs, k);
      for (std::int64_t k = 0; k < count; ++k) {
        weight_gradient += value(d, k, kOutputs, o) * value(images, k, kInputs, i);
        bias_gradient += value(d, k, kOutputs, o);
      }
      ASSERT_NEAR(value(outputs, image, kOutputs, o), output, tolerance);
      ASSERT_NEAR(value(image_gradients, image, kInputs, i), image_gradient, tolerance);
      ASSERT_NEAR(value(model.gradients, o, kInputs, i), weight_gradient, tolerance);
      ASSERT_NEAR(value(model.gradients, kOutputs, kInputs, o), bias_gradient, tolerance);
    }
  }
}

// A linear layer that is used twice. Its gradient is the sum of the gradients of two layers with equal weights.
TEST(LanesEngine, SumsTheGradientsOfASharedParameter) {
  for (const std::int64_t size : {8, 400}) {  // BlockLinearOp, BatchLinearOp
    const std::vector<network::Layer> layers{network::Flatten{}, network::Linear{size, true}, network::Tanh{},
                                             network::Linear{size, true}, network::Linear{3, true}};
    const Graph separate = sequential({1, 1, size}, layers);
    Graph shared = separate;
    shared.shared = {{3, network::Role::kWeight, 1}, {3, network::Role::kBias, 1}};
    Model one(shared, 2), two(separate, 2);
    const auto own = static_cast<std::size_t>(size * size + size);
    std::copy_n(one.values.begin(), own, two.values.begin());
    std::copy_n(one.values.begin(), own, two.values.begin() + static_cast<std::ptrdiff_t>(own));
    std::copy(one.values.begin() + static_cast<std::ptrdiff_t>(own), one.values.end(),
              two.values.begin() + static_cast<std::ptrdiff_t>(2 * own));
    const std::vector<float> images(static_cast<std::size_t>(20 * size), 0.25f), ones(20 * 3, 1.0f);
    std::vector<float> outputs(20 * 3), wanted(20 * 3);
    one.forward(images.data(), 20, Mode::kTrain, {}, false, outputs.data());
    two.forward(images.data(), 20, Mode::kTrain, {}, false, wanted.data());
    EXPECT_EQ(outputs, wanted);
    one.backward(ones.data(), nullptr);
    two.backward(ones.data(), nullptr);
    for (std::size_t i = 0; i < own; ++i) EXPECT_EQ(one.gradients[i], two.gradients[own + i] + two.gradients[i]) << i;
  }
}

TEST(LanesEngine, WrongNumberOfTensorsThrows) {
  Model model(sequential({1, 4, 4}, {network::Flatten{}, network::Linear{3, true}}), 1);
  const std::vector<float> image(16);
  std::vector<float> outputs(3);
  EXPECT_THROW(model.engine->forward({}, image.data(), 1, Mode::kEvaluate, {}, Keep::kForParameters, outputs.data()),
               std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
