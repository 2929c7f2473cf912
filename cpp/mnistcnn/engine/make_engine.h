#pragma once
#include <memory>
#include <optional>
#include <string>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/parameters.h"

namespace mnistcnn::engine {

// Why "lanes" can't execute a model, or nothing when it can.
std::optional<std::string> lanes_refusal(const network::Model& model);

// kind: "aten" or "lanes". threads: of the lanes engine, 0 for the cores this process may use; aten uses libtorch's
// own. The model must outlive the engine, and its memory must stay where it is.
std::unique_ptr<Engine> make_engine(network::Model& model, const std::string& kind, int threads);

}  // namespace mnistcnn::engine
