#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/ops/convolution_op.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/plan/memory_planner.h"

namespace mnistcnn::engine::lanes {

// Builds a plan node by node. Holds the parts that do not depend on the kinds of layers: access to the graph, the
// tensors and operations made so far, and the bookkeeping of gradients. The compiler derives from it and adds the
// layers.
class PlanBuilder {
 public:
  PlanBuilder(const network::Graph& graph, const network::Analysis& analysis) : graph_(graph), analysis_(analysis) {}

 protected:
  // The output of a node: a tensor, in the shape of the node (a Flatten changes the shape only).
  struct NodeOutput {
    Tensor* tensor = nullptr;
    Extent extent;
  };

  static Extent extent_of(const network::Shape& shape) {
    return shape.size() == 3 ? Extent{shape[0], shape[1], shape[2]} : Extent{shape[0], 1, 1};
  }

  // The map [dimensions before, `dimension`, dimensions after] of a shape.
  static Extent extent_around(const network::Shape& shape, std::int64_t dimension);

  // ---- the graph; shapes are those of the current node
  const network::Node& node() const { return graph_.nodes[static_cast<std::size_t>(node_)]; }
  const network::NodeAnalysis& node_analysis() const { return analysis_.nodes[static_cast<std::size_t>(node_)]; }
  const network::Shape& input_shape() const { return node_analysis().input_shapes[0]; }
  const network::Shape& output_shape() const { return node_analysis().output_shape; }
  network::Shape input_strides() const;
  network::Shape expanded_strides(const network::Shape& shape) const;  // 0 along broadcast dimensions
  Extent output_extent() const { return extent_of(output_shape()); }
  void find_used_nodes();
  // If a max pool has several equal inputs, the choice of the winner changes the image gradients. It does not change
  // the gradient of a convolution, whose input patches are equal at all of them; parameters that differ from position
  // to position do see a difference.
  ExactTies needed_exact_ties() const;
  NodeOutput output_of(int node) const;
  NodeOutput only_input() const { return output_of(node().inputs[0]); }
  bool has_one_reader(int node) const { return node >= 0 && readers_[static_cast<std::size_t>(node)] == 1; }
  void set_output(const NodeOutput& output) { node_outputs_[static_cast<std::size_t>(node_)] = output; }
  int use_parameter(network::Role role);  // the index of a new use in the plan, -1: the node has no such parameter

  // ---- tensors and operations
  Tensor* new_tensor(const Extent& extent, bool requires_grad);
  Tensor* alias_of(Tensor* tensor, const Extent& extent);
  // A new tensor as the current node's output. It requires a gradient if an input does, or the node has parameters.
  NodeOutput new_output(const Extent& extent, const std::vector<Tensor*>& inputs, bool has_parameters);
  static std::vector<Input> as_inputs(const std::vector<Tensor*>& tensors);

  template <class Operation, class... Arguments>
  Operation* emplace(Arguments&&... arguments) {
    auto op = std::make_unique<Operation>(std::forward<Arguments>(arguments)...);
    op->set_index(static_cast<int>(plan_.ops.size()), node_);
    Operation* const added = op.get();
    plan_.ops.push_back(std::move(op));
    return added;
  }

  // ---- gradients, when all operations exist
  void link_gradients();
  void collect_partial_gradients();

  const network::Graph& graph_;
  const network::Analysis& analysis_;
  ExecutionPlan plan_;
  int node_ = 0;  // the current one
  std::vector<bool> used_;
  std::vector<int> readers_;  // number of nodes that read each node
  std::vector<NodeOutput> node_outputs_;
  Aliases aliases_;
};

}  // namespace mnistcnn::engine::lanes
