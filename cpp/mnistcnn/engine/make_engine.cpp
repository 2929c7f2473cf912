#include "mnistcnn/engine/make_engine.h"

#include <stdexcept>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/aten/aten_engine.h"
#include "mnistcnn/engine/lanes_adapter.h"

namespace mnistcnn::engine {

std::optional<std::string> lanes_refusal(const network::Model& model) {
  if (!model.parameters.values.is_cpu())
    return common::text("the model lies on ", model.parameters.values.device().str(), ", and lanes is a CPU engine");
  return lanes::refusal(model.graph, model.analysis);
}

std::unique_ptr<Engine> make_engine(network::Model& model, const std::string& kind, int threads) {
  if (threads < 0) throw std::invalid_argument(common::text("threads=", threads, " must not be negative"));
  if (kind == "aten") return aten::make_engine(model);
  if (kind != "lanes") throw std::invalid_argument(common::text("there is no engine '", kind, "'"));
  if (const auto reason = lanes_refusal(model))
    throw std::invalid_argument("the lanes engine can't run this: " + *reason);
  return adapt_lanes(model, threads);
}

}  // namespace mnistcnn::engine
