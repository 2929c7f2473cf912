#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/runtime/program.h"

namespace mnistcnn::engine::lanes {

// Memory that an operation needs besides its tensors, in floats.
struct MemoryRequirements {
  // Per thread; shared by all operations, valid while one of them works on a block.
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0;
  std::int64_t block = 0;   // per block, kept from the forward to the backward
  std::int64_t batch = 0;   // per block of the batch, for matrices whose rows span the whole batch
  std::int64_t packed = 0;  // packed weights
};

// Where the memory of one operation begins in each region, in floats.
struct MemoryOffsets {
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0, block = 0, batch = 0, packed = 0;
};

// An input of an operation. If several operations read a tensor, the last one in forward order overwrites its gradient
// and the others add theirs, in backward order.
struct Input {
  Tensor* tensor = nullptr;
  bool accumulates_gradient = false;

  bool needs_gradient(const BatchContext& batch) const { return tensor->requires_grad || batch.image_gradients; }
};

// A parameter's gradient that an operation leaves in the partial gradients.
struct PartialGradient {
  int use = -1;              // of the parameter; see ExecutionPlan::uses
  std::int64_t count = 0;    // elements
  std::int64_t partial = 0;  // offset in the partial gradients, in floats
};

// One layer, or several that are computed together. Construction decides the algorithms and the memory; at run time the
// functions that it added to the programs compute.
class Op {
 public:
  explicit Op(std::vector<Input> inputs) : inputs_(std::move(inputs)) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  std::vector<Input>& inputs() { return inputs_; }
  const std::vector<Input>& inputs() const { return inputs_; }

  // The position in the plan, and the nodes of the graph that the operation computes.
  int index() const { return index_; }
  const std::vector<int>& nodes() const { return nodes_; }
  void set_index(int index, int node) {
    index_ = index;
    nodes_ = {node};
  }
  void add_node(int node) { nodes_.push_back(node); }

  // ---- memory
  virtual MemoryRequirements memory_requirements() const { return {}; }
  void set_offsets(const MemoryOffsets& offsets) { offsets_ = offsets; }
  // The layout in which it reads its input without a copy; nullptr: dense.
  virtual const PaddedLayout* input_layout() const { return nullptr; }
  // The layout of the gradient of its output, if that may lie in the thread's gradient scratch; nullptr: it may not.
  virtual const PaddedLayout* gradient_scratch_layout() const { return nullptr; }
  // Whether it reads an input with any channel stride and writes its gradient with any channel and row strides.
  virtual bool supports_strided_input() const { return false; }

  // ---- weights, packed in the order in which kernels read them
  virtual int packing_tasks() const { return 0; }
  virtual std::int64_t packing_task_size() const { return 0; }  // floats
  virtual void pack(const BatchContext&, int /*task*/) const {}

  // ---- computation
  virtual void add_forward(Program& program, bool training) = 0;
  virtual void add_backward(Program& program) = 0;
  // Called before each batch, on one thread.
  virtual void prepare(const BatchContext&) {}
  virtual std::vector<PartialGradient*> partial_gradients() { return {}; }

 protected:
  const Input& input() const { return inputs_[0]; }

  std::vector<Input> inputs_;
  MemoryOffsets offsets_;

 private:
  int index_ = 0;
  std::vector<int> nodes_;
};

// Call compute(view) to write the gradient of an input. If it has to be added to what other readers wrote, it is
// computed into `temporary` first (an offset in the thread's memory, with room for the tensor).
template <class Compute>
void write_gradient(const BlockContext& block, const Input& input, std::int64_t temporary, Compute compute) {
  const View target = block.view(input.tensor->gradient);
  if (!input.accumulates_gradient) return compute(target);
  const Extent& extent = input.tensor->extent;
  const View own = dense_view(block.thread_memory(temporary), extent);
  compute(own);
  block.batch.kernels->add(own.data, target.data, extent.elements() * kLanes);
}

}  // namespace mnistcnn::engine::lanes
