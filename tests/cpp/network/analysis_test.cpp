#include "mnistcnn/network/analysis.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <stdexcept>

namespace mnistcnn::network {
namespace {

Conv2d convolution(std::int64_t channels, std::int64_t kernel) {
  Conv2d conv;
  conv.out_channels = channels;
  conv.kernel = {kernel, kernel};
  return conv;
}

MaxPool2d max_pool(std::int64_t kernel, std::int64_t stride) {
  MaxPool2d result;
  result.kernel = {kernel, kernel};
  result.stride = {stride, stride};
  return result;
}

Graph sequential_graph(Shape input, std::vector<Layer> layers) {
  Graph graph{std::move(input), {}};
  for (std::size_t i = 0; i < layers.size(); ++i)
    graph.nodes.push_back({"node" + std::to_string(i), layers[i], {static_cast<int>(i) - 1}});
  return graph;
}

std::string error_message(const Graph& graph) {
  try {
    analyse(graph);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Analysis, ComputesShapesCostsAndReceptiveFields) {
  const Analysis analysis = analyse(sequential_graph(
      {1, 28, 28}, {convolution(4, 3), BatchNorm2d{}, max_pool(2, 2), convolution(8, 3), Flatten{}, Linear{10}}));
  const NodeAnalysis& second = analysis.nodes[3];
  EXPECT_EQ(second.output_shape, (Shape{8, 11, 11}));
  EXPECT_EQ(second.macs, 4 * 9 * 8 * 121);
  EXPECT_EQ(second.parameters, 4 * 9 * 8 + 8);
  EXPECT_EQ(second.receptive_field, (Pair{3 + 1 + 2 * 2, 3 + 1 + 2 * 2}));
  EXPECT_EQ(second.jump, (Pair{2, 2}));
  EXPECT_EQ(analysis.nodes[1].buffers, 4 + 4 + 1);
  EXPECT_EQ(analysis.nodes.back().output_shape, (Shape{10}));
  EXPECT_EQ(analysis.nodes.back().receptive_field, (Pair{0, 0}));
}

TEST(Analysis, ReceptiveFieldsHaveAHeightAndAWidth) {
  Conv2d wide, tall;
  wide.out_channels = tall.out_channels = 2;
  wide.kernel = {1, 7};
  wide.stride = {1, 2};
  tall.kernel = {7, 1};
  tall.stride = {2, 1};
  Slice slice;
  slice.dimension = 1;
  slice.start = 0;
  slice.stop = 9;
  slice.step = 3;
  const Analysis analysis = analyse(sequential_graph({1, 28, 28}, {wide, tall, slice}));
  EXPECT_EQ(analysis.nodes[0].receptive_field, (Pair{1, 7}));
  EXPECT_EQ(analysis.nodes[1].receptive_field, (Pair{7, 7}));
  EXPECT_EQ(analysis.nodes[1].jump, (Pair{2, 2}));
  EXPECT_EQ(analysis.nodes[2].jump, (Pair{6, 2}));
}

TEST(Analysis, OffsetsAreContiguous) {
  const Analysis analysis = analyse(sequential_graph({2, 8, 8}, {convolution(3, 3), BatchNorm2d{}}));
  std::int64_t offset = 0;
  for (const TensorSpec& spec : analysis.parameters) {
    EXPECT_EQ(spec.offset, offset) << spec.name;
    EXPECT_EQ(spec.count, element_count(spec.shape)) << spec.name;
    offset += spec.count;
  }
  EXPECT_EQ(offset, analysis.parameter_count);
  EXPECT_EQ(analysis.parameters[0].name, "node0.weight");
  EXPECT_EQ(analysis.find(1, Role::kRunningVariance)->offset, 3);
  EXPECT_EQ(analysis.find(0, Role::kRunningMean), nullptr);
}

TEST(Analysis, CeilModeIgnoresWindowsThatStartOutside) {
  MaxPool2d ceil = max_pool(2, 2);
  ceil.ceil_mode = true;
  EXPECT_EQ(analyse(sequential_graph({1, 5, 5}, {ceil})).nodes[0].output_shape, (Shape{1, 3, 3}));
  ceil.padding = {1, 1};
  EXPECT_EQ(analyse(sequential_graph({1, 3, 3}, {ceil})).nodes[0].output_shape, (Shape{1, 2, 2}));
}

TEST(Analysis, SupportsBranches) {
  Graph graph{{3, 8, 8}, {{"a", convolution(4, 1), {kInputImage}}, {"b", convolution(2, 1), {kInputImage}}}};
  graph.nodes.push_back({"both", Concat{}, {0, 1}});
  EXPECT_EQ(analyse(graph).nodes[2].output_shape, (Shape{6, 8, 8}));
  graph.nodes.push_back({"sum", Add{}, {0, 2}});
  EXPECT_NE(error_message(graph).find("'sum' (add): requires inputs of the same shape, got [4, 8, 8] and [6, 8, 8]"),
            std::string::npos)
      << error_message(graph);
}

TEST(Analysis, ThrowsForInvalidGraphs) {
  const auto expect_error = [](const Graph& graph, const std::string& fragment) {
    const std::string text = error_message(graph);
    EXPECT_NE(text.find(fragment), std::string::npos) << text;
  };
  expect_error(sequential_graph({1, 4, 4}, {convolution(2, 5)}), "'node0' (conv2d): the kernel's height 5 is larger");
  expect_error(sequential_graph({1, 4, 4}, {Linear{10}}), "put a Flatten() before it");
  expect_error(sequential_graph({1, 4, 4}, {Flatten{}, convolution(2, 1)}), "feature map");
  expect_error(sequential_graph({1, 4, 4}, {Dropout{1.5}}), "probability must be between 0 and 1, got 1.5");
  expect_error(sequential_graph({1, 4, 4}, {Permute{{0, 1, 1}}}), "each dimension");
  expect_error(sequential_graph({1, 4, 4}, {Slice{1, 2, 2, 1}}), "start=2, stop=2");
  expect_error(sequential_graph({1, 4, 4}, {GroupNorm{3}}), "must divide");
  expect_error(sequential_graph({1, 4, 4}, {Add{}}), "two or more inputs");
  expect_error(sequential_graph({1, 4, 4}, {}), "at least one layer");
  expect_error(sequential_graph({0, 4, 4}, {ReLU{}}), "input_shape");
  expect_error({{1, 4, 4}, {{"late", ReLU{}, {3}}}}, "does not come before it");
  expect_error({{1, 4, 4}, {{"twin", ReLU{}, {-1}}, {"twin", ReLU{}, {0}}}}, "another node has the same name");
}

TEST(Analysis, ThrowsInsteadOfOverflowing) {
  constexpr std::int64_t kLarge = (std::int64_t{1} << 31) - 1, kLargest = std::numeric_limits<std::int64_t>::max();
  const auto expect_too_large = [](const Graph& graph, const std::string& fragment = "too large") {
    const std::string text = error_message(graph);
    EXPECT_NE(text.find(fragment), std::string::npos) << text;
  };
  expect_too_large(sequential_graph({1, 4, 4}, {convolution(std::int64_t{1} << 40, 1)}),
                   "must be at most 2147483648, got");
  expect_too_large(sequential_graph({1 << 20, 1 << 20, 1 << 20}, {Flatten{}}));
  expect_too_large(sequential_graph({1, kLarge, kLarge}, {max_pool(kLarge, 1)}), "input_shape");
  expect_too_large(sequential_graph({kLargest, kLargest, kLargest}, {ReLU{}}), "input_shape");
  Conv2d padded = convolution(1, 1);
  padded.padding = {kLarge, kLarge, kLarge, kLarge};
  expect_too_large(sequential_graph({1, 4, 4}, {padded}));
  // Every map is 1 x 1, but the product of the strides does not fit 64 bits.
  const MaxPool2d strided = max_pool(1, kLarge);
  expect_too_large(sequential_graph({1, 4, 4}, {strided, strided, strided}), "product of the strides");
  // Each map and each weight is small enough, but not the number of operations of all layers.
  Conv2d expensive = convolution(1, (1 << 15) + 1);
  expensive.padding = {1 << 14, 1 << 14, 1 << 14, 1 << 14};
  expect_too_large(sequential_graph({1, 1 << 15, 1 << 15}, std::vector<Layer>(5, expensive)), "multiply-accumulate");
}

TEST(Analysis, BatchOfAnySizeDoesNotOverflow) {
  const Graph graph = sequential_graph({4, 8, 8}, {BatchNorm2d{}});
  EXPECT_NO_THROW(check_batch(graph, analyse(graph), std::numeric_limits<std::int64_t>::max(), true));
  const Graph single = sequential_graph({4, 1, 1}, {BatchNorm2d{}});
  EXPECT_NO_THROW(check_batch(single, analyse(single), 2, true));
  EXPECT_THROW(check_batch(single, analyse(single), 1, true), std::invalid_argument);
  EXPECT_THROW(check_batch(single, analyse(single), 0, true), std::invalid_argument);
}

TEST(Analysis, ThrowsForNumbersThatAreNotFinite) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  BatchNorm2d norm;
  norm.momentum = kNan;
  const std::vector<Layer> layers{LeakyReLU{kNan}, norm, ELU{1e300}, GroupNorm{.eps = 1e-320}};
  for (const Layer& layer : layers)
    EXPECT_NE(error_message(sequential_graph({1, 4, 4}, {layer})).find(" must be "), std::string::npos)
        << to_string(layer) << error_message(sequential_graph({1, 4, 4}, {layer}));
}

TEST(Layers, PrintTheirFields) {
  EXPECT_EQ(to_string(Layer{Dropout{0.25}}), "dropout(probability=0.25, always=false)");
  EXPECT_EQ(to_string(Layer{ReLU{}}), "relu()");
}

TEST(Layers, HaveDistinctNames) {
  std::set<std::string_view> names;
  for_each_layer_kind([&](const auto& kind) { names.insert(kind.kOp); });
  EXPECT_EQ(names.size(), std::variant_size_v<Layer>);
}

TEST(Analyse, CountsASharedTensorOnce) {
  const Linear square{4, true};
  Graph graph{{4, 1, 1}, {{"flat", Flatten{}, {kInputImage}}, {"a", square, {0}}, {"b", square, {1}}}};
  graph.shared = {{2, Role::kWeight, 1}};
  const Analysis analysis = analyse(graph);
  EXPECT_EQ(analysis.parameter_count, 16 + 4 + 4);
  EXPECT_EQ(analysis.find(2, Role::kWeight), analysis.find(1, Role::kWeight));
  EXPECT_NE(analysis.find(2, Role::kBias), analysis.find(1, Role::kBias));
  EXPECT_EQ(analysis.nodes[2].parameters, 4);
}

TEST(Analyse, ThrowsForInvalidSharedTensors) {
  const auto expect_error = [](const Linear& second, SharedTensor shared) {
    Graph graph{{4, 1, 1}, {{"flat", Flatten{}, {kInputImage}}, {"a", Linear{4, true}, {0}}, {"b", second, {1}}}};
    graph.shared = {shared};
    EXPECT_THROW(analyse(graph), std::invalid_argument);
  };
  expect_error(Linear{5, true}, {2, Role::kWeight, 1});  // different size
  expect_error(Linear{4, true}, {2, Role::kWeight, 0});  // the owner has no such tensor
  expect_error(Linear{4, true}, {1, Role::kWeight, 2});  // the owner comes later
}

}  // namespace
}  // namespace mnistcnn::network
