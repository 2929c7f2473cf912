#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "mnistcnn/data/normalization.h"
#include "mnistcnn/network/graph.h"
#include "mnistcnn/zoo/builder.h"

// Published MNIST networks, reproduced layer by layer, and those of this project. The order of batch norm, activation
// and dropout and the kind of outputs (logits or log-probabilities) differ between networks. Layers have the names of
// the original code, so its state dicts can be loaded.
namespace mnistcnn::zoo {

// Where a network was published. Unknown fields are empty.
struct Citation {
  std::string_view project;
  std::string_view session = {};  // course and session
  std::string_view file = {};     // file and class
  std::string_view url = {};
};

struct Entry {
  std::string_view name;
  std::string_view description;
  Citation citation;
  Definition (*definition)(std::int64_t classes);
  data::Normalization normalization = data::kMnist;
};

// Return all networks, grouped by source, in the order of the source.
std::span<const Entry> entries();

// Return the entry of this name. Throw std::invalid_argument, which lists all names, if there is none.
const Entry& find(std::string_view name);

// Return the graph of a network for images of 28 x 28 pixels.
network::Graph create(std::string_view name, std::int64_t classes = 10, std::int64_t channels = 1);

}  // namespace mnistcnn::zoo
