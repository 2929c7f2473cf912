#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "mnistcnn/network/graph.h"

// Definition of sequential networks, one line per layer or block:
//
//   return {
//       {"conv1", conv(8, 3, {.padding = 1})},
//       {"block", sequential(batch_norm(), relu())},  // layers "block.0" and "block.1"
//       {"pool1", max_pool(2)},
//   };
//
// Each function returns the torch.nn layer of the same name with PyTorch's defaults. Kernels are square.
namespace mnistcnn::zoo {

struct ConvOptions {
  std::int64_t padding = 0;  // on every side
  std::int64_t stride = 1;
  bool bias = true;
  std::int64_t groups = 1;
};

inline network::Layer conv(std::int64_t channels, std::int64_t kernel, ConvOptions options = {}) {
  network::Conv2d layer;
  layer.out_channels = channels;
  layer.kernel = {kernel, kernel};
  layer.padding = {options.padding, options.padding, options.padding, options.padding};
  layer.stride = {options.stride, options.stride};
  layer.bias = options.bias;
  layer.groups = options.groups;
  return layer;
}

struct LinearOptions {
  bool bias = true;
};

inline network::Layer linear(std::int64_t features, LinearOptions options = {}) {
  return network::Linear{features, options.bias};
}

inline network::Layer max_pool(std::int64_t kernel) {
  network::MaxPool2d layer;
  layer.kernel = layer.stride = {kernel, kernel};
  return layer;
}

inline network::Layer avg_pool(std::int64_t kernel) {
  network::AvgPool2d layer;
  layer.kernel = layer.stride = {kernel, kernel};
  return layer;
}

inline network::Layer global_avg_pool() { return network::AdaptiveAvgPool2d{}; }
inline network::Layer batch_norm() { return network::BatchNorm2d{}; }
inline network::Layer relu() { return network::ReLU{}; }
inline network::Layer silu() { return network::SiLU{}; }
inline network::Layer leaky_relu(double negative_slope) { return network::LeakyReLU{negative_slope}; }
inline network::Layer dropout(double probability) { return network::Dropout{probability}; }
inline network::Layer flatten() { return network::Flatten{}; }
inline network::Layer log_softmax() { return network::LogSoftmax{}; }

// A sequence of layers, like torch.nn.Sequential.
using Block = std::vector<network::Layer>;

template <class... Layers>
Block sequential(Layers... layers) {
  return {std::move(layers)...};
}

// Blocks of several projects.
inline Block only_conv(std::int64_t channels, std::int64_t kernel = 3) {
  return sequential(conv(channels, kernel, {.bias = false}));
}

inline Block conv_norm_relu(std::int64_t channels, std::int64_t kernel = 3, std::int64_t padding = 0) {
  return sequential(conv(channels, kernel, {.padding = padding, .bias = false}), batch_norm(), relu());
}

// A layer with its name, or a block whose layers are named "<name>.0", "<name>.1", ...
struct NamedBlock {
  NamedBlock(std::string block_name, network::Layer layer) : name(std::move(block_name)), layers{std::move(layer)} {}
  NamedBlock(std::string block_name, Block block)
      : name(std::move(block_name)), layers(std::move(block)), numbered(true) {}

  std::string name;
  Block layers;
  bool numbered = false;
};

using Definition = std::vector<NamedBlock>;

// Return the graph in which the input of each layer is the output of the previous one.
network::Graph sequential_graph(network::Shape input_shape, const Definition& definition);

}  // namespace mnistcnn::zoo
