#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::engine::lanes {

// A network as operations over values, with a place for everything.
struct Plan {
  // A gradient that is summed from the partials, or a part of one.
  struct Reduced {
    int use;
    std::int64_t first;    // element of the parameter
    std::int64_t count;    // of elements
    std::int64_t partial;  // where it begins in the partials
  };
  // A node's use of a parameter. The last use of a shared parameter writes its gradient, the others write to memory of
  // the engine; all are added up in the end, the last use first, as PyTorch does.
  struct Use {
    int parameter;  // in Analysis::parameters
    std::int64_t count;
    bool writes_gradient = true;
  };

  std::deque<Value> values;
  std::vector<std::unique_ptr<Op>> ops;
  Value* image = nullptr;
  Value* output = nullptr;
  std::int64_t block_size = 0, thread_size = 0, batch_size = 0, packed_size = 0;  // floats
  std::vector<Use> uses;
  std::vector<Reduced> reduced;
  std::int64_t partial_size = 0;
  std::vector<int> unused;  // parameters that the output does not depend on: their gradients are zero
  struct BatchNorm {
    std::string name;
    std::int64_t positions;
    bool tracked;  // has running statistics
  };
  std::vector<BatchNorm> batch_norms;
};

// Why a node can't run here, if so.
std::optional<std::string> unsupported(const network::Graph& graph);

Plan compile(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels);

}  // namespace mnistcnn::engine::lanes
