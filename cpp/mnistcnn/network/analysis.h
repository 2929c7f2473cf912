#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mnistcnn/network/graph.h"

// Shapes, parameters, costs and receptive fields of a graph.
namespace mnistcnn::network {

// A tensor of a network: a parameter, or the running statistics of a norm.
struct TensorSpec {
  std::string name;  // PyTorch's: "convblock1.0.weight"
  Shape shape;       // PyTorch's: [out, in / groups, kernel height, kernel width], [out, in], [channels]
  Role role;
  int node;             // the first node that uses it
  std::int64_t offset;  // of the first element in the concatenation of all parameters, or of all buffers
  std::int64_t count;   // number of elements
};

struct NodeAnalysis {
  std::vector<Shape> input_shapes;
  Shape output_shape;
  std::int64_t parameters = 0;        // number of trainable elements
  std::int64_t buffers = 0;           // number of elements of running statistics
  std::int64_t macs = 0;              // multiply-accumulate operations of convolutions and linear layers per image
  std::int64_t activation_bytes = 0;  // of the float32 output per image
  // In pixels of the input image: receptive field, and distance of two neighbouring outputs. 0 if outputs depend on all
  // positions.
  Pair receptive_field{0, 0}, jump{0, 0};
  // Tensors that the node uses, its own and shared ones: indices into Analysis::parameters (weight, bias), ::buffers
  // (running mean and variance) and ::counters. -1 for none.
  std::array<int, kRoles> tensors{-1, -1, -1, -1};
  int counter = -1;
};

struct Analysis {
  std::vector<NodeAnalysis> nodes;
  std::vector<TensorSpec> parameters;  // f32, without duplicates, in the order of their owners
  std::vector<TensorSpec> buffers;     // f32, without duplicates: running means and variances
  std::vector<int> counters;           // nodes that own a num_batches_tracked (i64)
  std::int64_t parameter_count = 0;
  std::int64_t buffer_count = 0;
  std::int64_t macs = 0;
  std::int64_t activation_bytes = 0;

  // Return the tensor that a node uses in a role, its own or a shared one; nullptr if it has none.
  const TensorSpec* find(int node, Role role) const;
};

// Analyse a graph. Throw std::invalid_argument, with the name of the node and the shapes, if it is not executable.
Analysis analyse(const Graph& graph);

// Throw std::invalid_argument if a batch norm would compute the variance of a single value: in training mode, or in any
// mode if it does not track running statistics.
void check_batch(const Graph& graph, const Analysis& analysis, std::int64_t images, bool training);

// Return the product of the dimensions.
std::int64_t element_count(const Shape& shape);

// Return the product of numbers of at least 1, or nothing if it exceeds the limit.
std::optional<std::int64_t> product_up_to(std::int64_t limit, const Shape& numbers);

}  // namespace mnistcnn::network
