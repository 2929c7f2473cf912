#include "mnistcnn/zoo/zoo.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "golden_table.h"
#include "mnistcnn/network/analysis.h"

namespace mnistcnn::zoo {
namespace {

using network::Layer;
using network::Pair;

Pair square(std::int64_t side) { return {side, side}; }

// Return the layer that a row of the golden table describes. Fields that are not in the table have PyTorch's defaults.
Layer expected_layer(const GoldenLayer& row) {
  if (row.op == "conv2d") {
    network::Conv2d conv;
    conv.out_channels = row.out;
    conv.kernel = square(row.kernel);
    conv.stride = square(row.stride);
    conv.padding = {row.padding, row.padding, row.padding, row.padding};
    conv.bias = row.bias;
    conv.groups = row.groups;
    return conv;
  }
  if (row.op == "maxpool2d" || row.op == "avgpool2d") {
    network::MaxPool2d max_pool;
    network::AvgPool2d avg_pool;
    max_pool.kernel = avg_pool.kernel = square(row.kernel);
    max_pool.stride = avg_pool.stride = square(row.stride);
    return row.op == "maxpool2d" ? Layer(max_pool) : Layer(avg_pool);
  }
  if (row.op == "linear") return network::Linear{row.out, row.bias};
  if (row.op == "adaptive_avgpool2d") return network::AdaptiveAvgPool2d{square(row.output)};
  if (row.op == "leaky_relu") return network::LeakyReLU{row.slope};
  if (row.op == "dropout") return network::Dropout{row.p};
  if (row.op == "batchnorm2d") return network::BatchNorm2d{};
  if (row.op == "relu") return network::ReLU{};
  if (row.op == "silu") return network::SiLU{};
  if (row.op == "flatten") return network::Flatten{};
  if (row.op == "log_softmax") return network::LogSoftmax{};
  throw std::invalid_argument("the golden table has an unknown layer: " + std::string(row.op));
}

void check_node(const network::Node& node, const network::NodeAnalysis& info, const GoldenLayer& row, int index) {
  const Layer expected = expected_layer(row);
  EXPECT_EQ(node.layer, expected) << to_string(node.layer) << " instead of " << to_string(expected);
  EXPECT_EQ(node.inputs, std::vector<int>{index - 1});
  EXPECT_EQ(info.output_shape, row.output_shape);
  EXPECT_EQ(info.parameters, row.params);
  const std::int64_t field = row.receptive_field.value_or(0);
  EXPECT_EQ(info.receptive_field, (network::Pair{field, field}));
  if (!row.name.empty()) {
    EXPECT_EQ(node.name, row.name);
  }
}

class Golden : public testing::TestWithParam<GoldenNetwork> {};

TEST_P(Golden, LayersEqualTheTable) {
  const GoldenNetwork& golden = GetParam();
  const network::Graph graph = create(golden.name);
  const network::Analysis analysis = network::analyse(graph);
  EXPECT_EQ(graph.input_shape, (network::Shape{1, 28, 28}));
  ASSERT_EQ(graph.nodes.size(), golden.layers.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    SCOPED_TRACE("layer " + std::to_string(i) + ", " + graph.nodes[i].name);
    check_node(graph.nodes[i], analysis.nodes[i], golden.layers[i], static_cast<int>(i));
  }
  EXPECT_EQ(analysis.parameter_count, golden.params);
  EXPECT_EQ(analysis.macs, golden.macs);
  std::int64_t buffers = 0;
  for (const network::NodeAnalysis& info : analysis.nodes) buffers += info.buffers;
  EXPECT_EQ(buffers, golden.buffers);
}

TEST_P(Golden, OtherClassesAndChannels) {
  const network::Analysis analysis = network::analyse(create(GetParam().name, 7, 3));
  EXPECT_EQ(analysis.nodes.back().output_shape, (network::Shape{7}));
  EXPECT_EQ(analysis.parameters.front().shape[1], 3);
}

INSTANTIATE_TEST_SUITE_P(Zoo, Golden, testing::ValuesIn(kGolden),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Zoo, ContainsTheNetworksOfTheTable) {
  std::set<std::string_view> ours, golden;
  for (const Entry& entry : entries()) ours.insert(entry.name);
  for (const GoldenNetwork& network : kGolden) golden.insert(network.name);
  EXPECT_EQ(ours.size(), entries().size());
  EXPECT_EQ(ours, golden);
}

TEST(Zoo, EveryNetworkIsDescribedAndCited) {
  for (const Entry& entry : entries()) {
    EXPECT_FALSE(entry.description.empty()) << entry.name;
    EXPECT_FALSE(entry.citation.project.empty()) << entry.name;
  }
}

TEST(Zoo, EntriesHaveTheirNormalization) {
  EXPECT_DOUBLE_EQ(find("session7_net").normalization.mean, 0.1307);
  EXPECT_DOUBLE_EQ(find("session7_net").normalization.deviation, 0.3081);
  EXPECT_DOUBLE_EQ(find("assignment7_model8").normalization.scale(), 1.0 / 255);
  EXPECT_EQ(find("assignment7_model8").normalization.shift(), 0);
}

TEST(Zoo, UnknownNameListsAllNames) {
  try {
    create("sesion7_net");
    FAIL() << "an unknown network was created";
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("'sesion7_net'. Choose from: assignment7_model1, "), std::string::npos);
    EXPECT_TRUE(message.ends_with(", record_single"));
  }
}

}  // namespace
}  // namespace mnistcnn::zoo
