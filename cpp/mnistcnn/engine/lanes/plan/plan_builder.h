#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/ops/convolution_op.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/plan/memory_planner.h"

// Base class of the compiler: the parts that do not depend on the kind of layer.
namespace mnistcnn::engine::lanes {

// Builds a plan node by node: access to the graph, creation of tensors and operations, and links between gradients. The
// derived class adds the operations of each layer.
class PlanBuilder {
 public:
  PlanBuilder(const network::Graph& graph, const network::Analysis& analysis) : graph_(graph), analysis_(analysis) {}

 protected:
  // Output of a node: a tensor, and the shape of the node, which may differ (Flatten only changes the shape).
  struct NodeOutput {
    Tensor* tensor = nullptr;
    Extent extent;
  };

  static Extent extent_of(const network::Shape& shape) {
    return shape.size() == 3 ? Extent{shape[0], shape[1], shape[2]} : Extent{shape[0], 1, 1};
  }

  // Return a shape as the map [product of the dimensions before, `dimension`, product of the dimensions after].
  static Extent extent_around(const network::Shape& shape, std::int64_t dimension);

  // ---- the graph; shapes are of the current node
  const network::Node& node() const { return graph_.nodes[static_cast<std::size_t>(node_)]; }
  const network::NodeAnalysis& node_analysis() const { return analysis_.nodes[static_cast<std::size_t>(node_)]; }
  const network::Shape& input_shape() const { return node_analysis().input_shapes[0]; }
  const network::Shape& output_shape() const { return node_analysis().output_shape; }
  network::Shape input_strides() const;
  network::Shape expanded_strides(const network::Shape& shape) const;  // 0 along broadcast dimensions
  Extent output_extent() const { return extent_of(output_shape()); }
  void find_used_nodes();
  // Return when convolutions must preserve ties. If a max pool has several equal inputs, the selected one determines
  // the image gradients. It does not change the gradient of a convolution before it, whose input patches are equal at
  // all of them. It does change the gradients of parameters that differ from position to position.
  ExactTies needed_exact_ties() const;
  NodeOutput output_of(int node) const;
  NodeOutput only_input() const { return output_of(node().inputs[0]); }
  bool has_one_reader(int node) const { return node >= 0 && readers_[static_cast<std::size_t>(node)] == 1; }
  void set_output(const NodeOutput& output) { node_outputs_[static_cast<std::size_t>(node_)] = output; }
  // Add a use of a parameter of the current node and return its index. -1: the node has no such parameter.
  int use_parameter(network::Role role);

  // ---- tensors and operations
  Tensor* new_tensor(const Extent& extent, bool requires_grad);
  Tensor* alias_of(Tensor* tensor, const Extent& extent);
  // Add a tensor as the output of the current node. It requires a gradient if an input does or the node has parameters.
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

  // ---- gradients; called after all operations were added
  void link_gradients();
  void collect_partial_gradients();

  const network::Graph& graph_;
  const network::Analysis& analysis_;
  ExecutionPlan plan_;
  int node_ = 0;              // current node
  std::vector<bool> used_;    // per node: whether the output depends on it
  std::vector<int> readers_;  // per node: number of used nodes that read it
  std::vector<NodeOutput> node_outputs_;
  Aliases aliases_;
};

}  // namespace mnistcnn::engine::lanes
