#pragma once
#include <memory>
#include <optional>
#include <string>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::engine {

// Why "lanes" does not support a network, or nothing if it does.
std::optional<std::string> lanes_refusal(const network::Network& network);

// kind: "aten" or "lanes". threads: of the lanes engine, 0 for all cores this process may use; aten uses libtorch's
// threads.
std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network, const std::string& kind,
                                    int threads);

}  // namespace mnistcnn::engine
