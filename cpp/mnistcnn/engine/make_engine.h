#pragma once
#include <memory>
#include <optional>
#include <string>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::engine {

// Return the reason why the lanes engine does not support a network, or nullopt if it does.
std::optional<std::string> lanes_unsupported_reason(const network::Network& network);

// Create an engine. kind: "aten" or "lanes". threads: number of threads. 0: one per physical core for lanes,
// libtorch's setting for aten.
std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network, const std::string& kind,
                                    int threads);

}  // namespace mnistcnn::engine
