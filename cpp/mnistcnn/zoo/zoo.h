#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "mnistcnn/data/normalization.h"
#include "mnistcnn/network/graph.h"
#include "mnistcnn/zoo/builder.h"

// The published networks, layer by layer as their authors wrote them. The order of batch norm, activation and dropout
// differs from network to network, and so does the meaning of the outputs. Names of layers are the authors', so their
// state dicts load.
namespace mnistcnn::zoo {

// Where a network was published. A field is empty if it is not known.
struct Citation {
  std::string_view project;
  std::string_view session = {};  // of the course that set the task
  std::string_view file = {};     // and the class in it
  std::string_view url = {};
};

struct Entry {
  std::string_view name;
  std::string_view description;
  Citation citation;
  Definition (*definition)(std::int64_t classes);
  data::Normalization normalization = data::kMnist;
};

// All networks, source by source, in the order in which their authors present them.
std::span<const Entry> entries();

// Throws std::invalid_argument that lists all names unless there is an entry of this name.
const Entry& find(std::string_view name);

// The network for images of 28 x 28 pixels.
network::Graph create(std::string_view name, std::int64_t classes = 10, std::int64_t channels = 1);

}  // namespace mnistcnn::zoo
