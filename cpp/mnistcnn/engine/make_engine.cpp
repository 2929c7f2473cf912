#include "mnistcnn/engine/make_engine.h"

#include <stdexcept>
#include <utility>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/aten/aten_engine.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes_adapter.h"

namespace mnistcnn::engine {

std::optional<std::string> lanes_unsupported_reason(const network::Network& network) {
  return lanes::unsupported_reason(network.graph, network.analysis);
}

std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network, const std::string& kind,
                                    int threads) {
  if (threads < 0)
    throw std::invalid_argument(common::text("threads must be at least 0, got ", threads, "; 0 uses the default"));
  if (kind == "aten") return aten::make_engine(std::move(network), threads);
  if (kind != "lanes")
    throw std::invalid_argument(common::text("unknown engine '", kind, "', expected 'aten' or 'lanes'"));
  if (const auto reason = lanes_unsupported_reason(*network))
    throw std::invalid_argument("the lanes engine does not support this network: " + *reason);
  return adapt_lanes(std::move(network), threads);
}

}  // namespace mnistcnn::engine
