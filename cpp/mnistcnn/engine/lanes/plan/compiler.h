#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::engine::lanes {

// A network as operations over tensors, with a place in memory for everything. Sizes are in floats.
struct ExecutionPlan {
  // A node's use of a parameter. The last use of a shared parameter writes its gradient, the others write to memory of
  // the engine; all are added up in the end, the last use first, as PyTorch does.
  struct ParameterUse {
    int parameter;  // in Analysis::parameters
    std::int64_t count;
    bool writes_gradient = true;
  };
  struct BatchNorm {
    std::string name;
    std::int64_t positions;
    bool has_running_statistics;
  };

  std::deque<Tensor> tensors;
  std::vector<std::unique_ptr<Op>> ops;
  Tensor* image = nullptr;
  Tensor* output = nullptr;
  std::int64_t block_size = 0, thread_size = 0, batch_size = 0, packed_size = 0, partial_size = 0;  // of the regions
  std::vector<ParameterUse> uses;
  std::vector<PartialGradient> partial_gradients;
  std::vector<int> unused_parameters;  // the output does not depend on them: their gradients are zero
  std::vector<BatchNorm> batch_norms;
};

// Why the engine does not support a network ("node 'norm1': ..."), or nothing if it does.
std::optional<std::string> unsupported(const network::Graph& graph);

ExecutionPlan compile(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels);

}  // namespace mnistcnn::engine::lanes
