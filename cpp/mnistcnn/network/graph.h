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

// A network: nodes in an order in which every input comes before its use; the last node is the output.
// Data, not code: it can be printed, compared, stored and analysed. `analyse` says whether it is a sound one.
struct Graph {
  Shape input_shape;  // [channels, height, width]
  std::vector<Node> nodes;
  bool operator==(const Graph&) const = default;
};

// Conv2d(out_channels=16, kernel=[3, 3], ...)
std::string to_string(const Layer& layer);

}  // namespace mnistcnn::network
