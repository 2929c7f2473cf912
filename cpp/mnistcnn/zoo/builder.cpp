#include "mnistcnn/zoo/builder.h"

#include "mnistcnn/common/text.h"

namespace mnistcnn::zoo {

network::Graph chain(network::Shape input_shape, const Lines& lines) {
  network::Graph graph{std::move(input_shape), {}};
  int before = network::kInputImage;
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < line.layers.size(); ++i) {
      const std::string name = line.numbered ? common::text(line.name, '.', i) : line.name;
      graph.nodes.push_back({name, line.layers[i], {before}});
      ++before;
    }
  }
  return graph;
}

}  // namespace mnistcnn::zoo
