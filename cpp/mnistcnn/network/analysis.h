#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "mnistcnn/network/graph.h"

namespace mnistcnn::network {

// One tensor of a network: a parameter, or the running statistics of a norm.
struct TensorSpec {
  std::string name;  // PyTorch's: "convblock1.0.weight"
  Shape shape;       // PyTorch's: [out, in / groups, kernel height, kernel width], [out, in], [channels]
  Role role;
  int node;             // its owner: the first node that uses it
  std::int64_t offset;  // of the first element, where all tensors of a kind lie one behind the other
  std::int64_t count;   // of elements
};

struct NodeAnalysis {
  std::vector<Shape> input_shapes;
  Shape output_shape;
  std::int64_t parameters = 0;        // trainable numbers
  std::int64_t buffers = 0;           // running statistics
  std::int64_t macs = 0;              // multiply-accumulates of convolutions and linear layers, for one image
  std::int64_t activation_bytes = 0;  // of its output in float32, for one image
  // In pixels of the input image, the larger of both directions; 0 where a layer mixes all positions.
  std::int64_t receptive_field = 0;
  std::int64_t jump = 0;  // the distance in the image of two neighbouring outputs
  // The tensors that it uses, its own and shared ones: positions in Analysis::parameters (weight, bias), ::buffers
  // (running mean and variance) and ::counters. -1: none.
  std::array<int, kRoles> tensors{-1, -1, -1, -1};
  int counter = -1;
};

struct Analysis {
  std::vector<NodeAnalysis> nodes;
  std::vector<TensorSpec> parameters;  // f32, each once, in the order of the nodes that own them
  std::vector<TensorSpec> buffers;     // f32, likewise: running means and variances
  std::vector<int> counters;           // the nodes that own a count of batches (num_batches_tracked, i64)
  std::int64_t parameter_count = 0;
  std::int64_t buffer_count = 0;
  std::int64_t macs = 0;
  std::int64_t activation_bytes = 0;

  // The tensor that a node uses in a role, its own or a shared one; nullptr if it has none.
  const TensorSpec* find(int node, Role role) const;
};

// Shapes, costs and receptive fields of every node. A graph that can't be executed is refused with
// std::invalid_argument, naming the node and the shapes.
Analysis analyse(const Graph& graph);

// Refuses a batch in which a batch norm would need the variance of a single value: in training, and always where a
// norm keeps no running statistics.
void check_batch(const Graph& graph, const Analysis& analysis, std::int64_t images, bool training);

std::int64_t element_count(const Shape& shape);

}  // namespace mnistcnn::network
