#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/runtime/program.h"

// Interface of the operations. plan/compiler creates them; execution/programs adds their stages to the programs.
namespace mnistcnn::engine::lanes {

// Memory that an operation needs in addition to its tensors, in floats.
struct MemoryRequirements {
  // Per thread, shared by all operations; valid while one operation computes a block. Several parts of a block share
  // `input_scratch` and `gradient_scratch` (BlockContext::scratch_memory); `temporary` and `workspace` are valid during
  // one stage. `gradient_scratch` can also hold an output gradient that the next operation of the backward pass reads.
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0;
  std::int64_t block = 0;   // per block, valid from the forward to the backward
  std::int64_t batch = 0;   // per block, in matrices whose rows span the whole batch
  std::int64_t packed = 0;  // packed weights
};

// Offset of an operation's memory in each region, in floats.
struct MemoryOffsets {
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0, block = 0, batch = 0, packed = 0;
};

// Input of an operation. If several operations read a tensor, the last one in forward order overwrites its gradient;
// the others then add to it, in backward order.
struct Input {
  Tensor* tensor = nullptr;
  bool accumulates_gradient = false;

  bool needs_gradient(const BatchContext& batch) const { return tensor->requires_grad || batch.image_gradients; }
};

// Gradient of a parameter that an operation accumulates in the partial gradients.
struct PartialGradient {
  int use = -1;              // of the parameter; see ExecutionPlan::uses
  std::int64_t count = 0;    // elements
  std::int64_t partial = 0;  // offset in the partial gradients, in floats
};

// One layer, or several fused layers. The constructor selects the algorithms. After memory planning, add_forward and
// add_backward add the stages that compute the operation.
class Op {
 public:
  explicit Op(std::vector<Input> inputs) : inputs_(std::move(inputs)) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  std::vector<Input>& inputs() { return inputs_; }
  const std::vector<Input>& inputs() const { return inputs_; }

  // Index in the plan, and the nodes of the graph that the operation computes.
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
  // The layout in which the input is read without a copy. nullptr: dense.
  virtual const PaddedLayout* input_layout() const { return nullptr; }
  // The layout in which the output gradient can be passed in gradient_scratch. nullptr: not supported.
  virtual const PaddedLayout* gradient_scratch_layout() const { return nullptr; }
  // Whether the input may have any channel stride, and its gradient any channel and row strides.
  virtual bool supports_strided_input() const { return false; }
  // Whether the output and its gradient may have any channel and row strides.
  virtual bool supports_strided_output() const { return false; }
  // Whether stages of the operation before compute the output of this one or the gradient of its input, see
  // ConvolutionOp::fuse.
  virtual bool is_called_by_previous() const { return false; }

  // ---- packing of the weights into the order in which kernels read them
  virtual int packing_tasks() const { return 0; }
  virtual std::int64_t packing_task_size() const { return 0; }  // floats
  virtual void pack(const BatchContext&, int /*task*/) const {}

  // ---- computation
  virtual void add_forward(Program& program, bool training) = 0;
  virtual void add_backward(Program& program) = 0;
  // Called before each batch, by one thread.
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

// Write the gradient of an input by calling compute(view). If other readers of the tensor have written its gradient
// before, it is computed into temporary memory (offset `temporary` in thread memory, as large as the tensor) and added.
template <class Compute>
void write_gradient(const BlockContext& block, const Input& input, std::int64_t temporary, Compute compute) {
  const View target = block.view(input.tensor->gradient);
  if (!input.accumulates_gradient) return compute(target);
  const Extent& extent = input.tensor->extent;
  const View own = dense_view(block.thread_memory(temporary), extent);
  compute(own);
  block.batch.kernels->add(own.data, target.data, extent.elements() * kLanes);
}

// The same in a stage that is divided: call compute(block, view). An addition is not divided; the first part does it.
template <class Compute>
void write_gradient_of_part(const BlockContext& block, const Input& input, std::int64_t temporary, Compute compute) {
  if (!input.accumulates_gradient) return compute(block, block.view(input.tensor->gradient));
  if (block.part.index > 0) return;
  const BlockContext whole = block.with_part({});
  write_gradient(whole, input, temporary, [&](View target) { compute(whole, target); });
}

}  // namespace mnistcnn::engine::lanes
