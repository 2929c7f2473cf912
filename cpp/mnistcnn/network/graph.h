#pragma once
#include <string>
#include <vector>

#include "mnistcnn/network/layers.h"

namespace mnistcnn::network {

inline constexpr int kInputImage = -1;  // as a node's input: the image itself

struct Node {
  std::string name;  // "convblock1.0"; its parameters are "convblock1.0.weight", ...
  Layer layer;
  std::vector<int> inputs;  // positions of earlier nodes, or kInputImage
  bool operator==(const Node&) const = default;
};

// The tensors that a layer may have, as PyTorch names them.
enum class Role { kWeight, kBias, kRunningMean, kRunningVariance };
inline constexpr std::size_t kRoles = 4;
const char* suffix_of(Role role);  // "weight", "bias", "running_mean", "running_var"

// A node uses a tensor of an earlier node instead of one of its own, as a module does that is called twice.
struct SharedTensor {
  int node;
  Role role;
  int owner;
  bool operator==(const SharedTensor&) const = default;
};

// A network: nodes in an order in which every input comes before its use; the last node is the output.
// Data, not code: it can be printed, compared, stored and analysed. `analyse` says whether it is a sound one.
struct Graph {
  Shape input_shape;  // [channels, height, width]
  std::vector<Node> nodes;
  std::vector<SharedTensor> shared = {};
  bool operator==(const Graph&) const = default;
};

// Conv2d(out_channels=16, kernel=[3, 3], ...)
std::string to_string(const Layer& layer);

}  // namespace mnistcnn::network
