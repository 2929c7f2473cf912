#include "mnistcnn/zoo/builder.h"

#include "mnistcnn/common/text.h"

namespace mnistcnn::zoo {

network::Graph sequential_graph(network::Shape input_shape, const Definition& definition) {
  network::Graph graph{std::move(input_shape), {}};
  int previous = network::kInputImage;
  for (const NamedBlock& block : definition) {
    for (std::size_t i = 0; i < block.layers.size(); ++i) {
      const std::string name = block.numbered ? common::text(block.name, '.', i) : block.name;
      graph.nodes.push_back({name, block.layers[i], {previous}});
      ++previous;
    }
  }
  return graph;
}

}  // namespace mnistcnn::zoo
