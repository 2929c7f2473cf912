#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mnistcnn/engine/lanes/ops/op.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

// Compilation of a network to an execution plan. Called once by LanesEngine's constructor. Operations select their
// algorithms and kernels here.
namespace mnistcnn::engine::lanes {

// A network as a list of operations over tensors, with the memory of each. Sizes are in floats.
struct ExecutionPlan {
  // Use of a parameter by a node. The last use of a shared parameter writes to its gradient, the others to memory of
  // the engine. ParameterBinding sums them at the end, beginning with the last use, as PyTorch does.
  struct ParameterUse {
    int parameter;  // in Analysis::parameters
    std::int64_t count;
    bool writes_gradient = true;
  };

  std::deque<Tensor> tensors;
  std::vector<std::unique_ptr<Op>> ops;
  Tensor* image = nullptr;
  Tensor* output = nullptr;
  // Sizes of the memory regions, see BatchMemory: per block, per thread, per block, in total, per copy.
  std::int64_t block_size = 0, thread_size = 0, batch_size = 0, packed_size = 0, partial_size = 0;
  std::vector<ParameterUse> uses;
  std::vector<PartialGradient> partial_gradients;
  std::vector<int> unused_parameters;  // the output does not depend on them, so their gradients are zero
  // A batch norm without running statistics uses those of the whole batch, so predictions cannot be divided into
  // chunks.
  bool predicts_whole_batches = false;
};

// Return why the engine does not support a network ("node 'norm1': ..."), or nothing if it does.
std::optional<std::string> unsupported_reason(const network::Graph& graph, const network::Analysis& analysis);

ExecutionPlan compile(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels);

}  // namespace mnistcnn::engine::lanes
