#pragma once
#include <string>
#include <vector>

#include "mnistcnn/network/layers.h"

// The structure of a network as a graph of layers.
namespace mnistcnn::network {

inline constexpr int kInputImage = -1;  // in Node::inputs: the input image

struct Node {
  std::string name;  // for example "convblock1.0"; then its weight is "convblock1.0.weight"
  Layer layer;
  std::vector<int> inputs;  // indices of earlier nodes, or kInputImage
  bool operator==(const Node&) const = default;
};

// The kinds of tensors that a layer may have.
enum class Role { kWeight, kBias, kRunningMean, kRunningVariance };
inline constexpr std::size_t kRoles = 4;
const char* suffix_of(Role role);  // "weight", "bias", "running_mean", "running_var"

// A tensor that a node shares with an earlier node (the owner), for example because a module is called twice.
struct SharedTensor {
  int node;
  Role role;
  int owner;
  bool operator==(const SharedTensor&) const = default;
};

// A network: nodes in topological order; the last node is the output. A plain value; `analyse` validates it.
struct Graph {
  Shape input_shape;  // [channels, height, width]
  std::vector<Node> nodes;
  std::vector<SharedTensor> shared = {};
  bool operator==(const Graph&) const = default;
};

// Format a layer as "conv2d(out_channels=16, kernel=[3, 3], ...)".
std::string to_string(const Layer& layer);

}  // namespace mnistcnn::network
