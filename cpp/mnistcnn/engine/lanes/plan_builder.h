#pragma once
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/compiler.h"
#include "mnistcnn/engine/lanes/ops/convolution_op.h"
#include "mnistcnn/engine/lanes/placement.h"

namespace mnistcnn::engine::lanes {

// A plan on its way, node by node: what the compiler asks of the graph, the values and operations made so far, and how
// gradients find each other in the end. What each layer becomes is the compiler's.
class PlanBuilder {
 public:
  PlanBuilder(const network::Graph& graph, const network::Analysis& analysis) : graph_(graph), analysis_(analysis) {}

 protected:
  // A node's output: a value, seen in the node's own shape (flatten gives a value another shape).
  struct Named {
    Value* value = nullptr;
    Extent extent;
  };

  static Extent extent_of(const network::Shape& shape) {
    return shape.size() == 3 ? Extent{shape[0], shape[1], shape[2]} : Extent{shape[0], 1, 1};
  }

  // A map [dimensions before one, that dimension, dimensions behind it] of a shape.
  static Extent extent_around(const network::Shape& shape, std::int64_t dimension);

  // ---- the graph; shapes are the current node's
  const network::Node& node() const { return graph_.nodes[static_cast<std::size_t>(node_)]; }
  const network::Shape& input_shape() const { return analysis_.nodes[static_cast<std::size_t>(node_)].input_shapes[0]; }
  const network::Shape& output_shape() const { return analysis_.nodes[static_cast<std::size_t>(node_)].output_shape; }
  network::Shape input_strides() const;
  network::Shape expanded_strides(const network::Shape& shape) const;  // 0 where the input's size 1 is repeated
  Extent output_extent() const { return extent_of(output_shape()); }
  void find_used_nodes();
  // Which of several equal inputs of a maximum receive the gradient decides about the gradients of images. The
  // parameters of a convolution see equal patches of inputs behind all of them, so their gradient is the same; those of
  // other layers may differ from position to position.
  EqualBits needed_bits() const;
  Named named(int from) const;
  Named only() const { return named(node().inputs[0]); }
  bool only_reader_of(int from) const { return from >= 0 && readers_[static_cast<std::size_t>(from)] == 1; }
  int use_parameter(network::Role role);  // a new use in the plan, -1: the node has no such parameter

  // ---- values and operations
  Value* new_value(const Extent& extent, bool trains);
  Value* view_of(Value* value, const Extent& extent);
  Named result(const Extent& extent, std::initializer_list<Value*> inputs, bool has_parameters);
  Named joined_result(const std::vector<Value*>& values);
  static std::vector<Input> as_inputs(const std::vector<Value*>& values);

  template <class Operation, class... Arguments>
  Operation* emplace(Arguments&&... arguments) {
    plan_.ops.push_back(std::make_unique<Operation>(std::forward<Arguments>(arguments)...));
    auto* const op = static_cast<Operation*>(plan_.ops.back().get());
    op->begin(static_cast<int>(plan_.ops.size()) - 1, node_);
    return op;
  }

  // ---- gradients, when all operations are there
  void link_gradients();
  void collect_gradients();

  const network::Graph& graph_;
  const network::Analysis& analysis_;
  Plan plan_;
  int node_ = 0;
  std::vector<bool> used_;
  std::vector<int> readers_;  // nodes that read each node
  std::vector<Named> value_of_;
  Views views_;
};

}  // namespace mnistcnn::engine::lanes
