#include "mnistcnn/engine/lanes/plan/memory_planner.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mnistcnn::engine::lanes {
namespace {

class MemoryPlanner {
 public:
  MemoryPlanner(ExecutionPlan& plan, const Aliases& aliases) : plan_(plan), aliases_(aliases) {}

  void run() {
    plan_operations();
    for (Tensor& tensor : plan_.tensors)
      if (aliases_.base_of(&tensor) == &tensor) {
        plan_activation(tensor);
        plan_gradient(tensor);
      }
    assign_block_memory();
    for (const auto& [view, base] : aliases_) {
      const Tensor* root = aliases_.base_of(base);
      view->activation = reshaped(view->extent, root->activation);
      view->gradient = reshaped(view->extent, root->gradient);
      view->requires_grad = root->requires_grad;
    }
    plan_.block_size = odd_cache_lines(plan_.block_size / kLanes + 1);  // blocks start in different cache sets
  }

 private:
  // A buffer in block memory and its lifetime.
  struct BlockBuffer {
    MemoryRef* ref;
    Lifetime lifetime;
  };

  // Return the only operation that reads a tensor, or nullptr if there are several readers or the loss reads it.
  const Op* only_reader(const Tensor& tensor) const {
    if (tensor.uses != 1 || &tensor == plan_.output) return nullptr;
    for (const auto& op : plan_.ops)
      if (op->inputs()[0].tensor == &tensor) return op.get();
    return nullptr;
  }

  // Return the layout of a gradient that can stay in gradient_scratch, or nullptr. The producer must support it, and
  // the operation that writes the gradient must run immediately before the producer's backward.
  const PaddedLayout* scratch_layout(const Tensor& tensor) const {
    if (tensor.producer < 0) return nullptr;
    const auto producer = static_cast<std::size_t>(tensor.producer);
    if (producer + 1 == plan_.ops.size()) return nullptr;
    const Op* const reader = only_reader(tensor);
    const bool follows = reader != nullptr && reader == plan_.ops[producer + 1].get();
    return follows && reader->supports_strided_input() ? plan_.ops[producer]->gradient_scratch_layout() : nullptr;
  }

  // Return the layout that the only reader reads without a copy, if the tensor can be written in it. nullptr: dense.
  const PaddedLayout* reader_layout(const Tensor& tensor) const {
    const bool is_supported =
        tensor.producer < 0 || plan_.ops[static_cast<std::size_t>(tensor.producer)]->supports_strided_output();
    const Op* const reader = only_reader(tensor);
    return is_supported && reader != nullptr ? reader->input_layout() : nullptr;
  }

  // Return the operation whose forward is the earliest that can write a tensor, and whose backward is the latest that
  // can read its gradient.
  int operation_of(const Tensor& tensor) const {
    const int producer = tensor.producer;
    return producer >= 0 && plan_.ops[static_cast<std::size_t>(producer)]->is_called_by_previous() ? producer - 1
                                                                                                   : producer;
  }

  // Thread memory is shared by all operations, so the largest requirement counts. The other regions are not shared.
  void plan_operations() {
    MemoryRequirements largest;
    for (const auto& op : plan_.ops) {
      const MemoryRequirements required = op->memory_requirements();
      largest.input_scratch = std::max(largest.input_scratch, required.input_scratch);
      largest.gradient_scratch = std::max(largest.gradient_scratch, required.gradient_scratch);
      largest.temporary = std::max(largest.temporary, required.temporary);
      largest.workspace = std::max(largest.workspace, required.workspace);
    }
    const auto end_of = [](std::int64_t offset, std::int64_t size) { return offset + whole_vectors(size) + kLanes; };
    gradient_scratch_ = end_of(0, largest.input_scratch);
    const std::int64_t temporary = end_of(gradient_scratch_, largest.gradient_scratch),
                       workspace = end_of(temporary, largest.temporary);
    plan_.thread_size = end_of(workspace, largest.workspace);
    for (const auto& op : plan_.ops) {
      const MemoryRequirements required = op->memory_requirements();
      op->set_offsets(
          {0, gradient_scratch_, temporary, workspace, plan_.block_size, plan_.batch_size, plan_.packed_size});
      plan_.block_size += whole_vectors(required.block);
      plan_.batch_size += required.batch;
      plan_.packed_size += required.packed;
    }
  }

  static MemoryRef reshaped(const Extent& extent, MemoryRef ref) {
    ref.plane = extent.positions() * kLanes;
    ref.row = extent.columns * kLanes;
    return ref;
  }

  // layout: nullptr for dense.
  void add_block_buffer(MemoryRef& ref, const Tensor& tensor, const PaddedLayout* layout, int first) {
    constexpr auto kBlock = MemoryRef::Region::kBlock;
    const std::int64_t size = layout ? layout->size() : tensor.extent.elements() * kLanes;
    ref = layout ? MemoryRef{kBlock, layout->origin(), layout->plane(), layout->row()}
                 : reshaped(tensor.extent, {kBlock, 0, 0, 0});
    buffers_.push_back({&ref, {first, backward_time(operation_of(tensor)), size}});
  }

  // Time steps of a training step are numbered: the forward of each operation, the loss, the backward of each operation
  // in reverse. A tensor lives until the last backward that may read it or its gradient, see operation_of.
  int backward_time(int operation) const { return 2 * static_cast<int>(plan_.ops.size()) - operation; }

  void plan_activation(Tensor& tensor) {
    if (!tensor.materialized) return;
    const PaddedLayout spaced{tensor.extent, {}};  // channels in different cache sets
    if (&tensor == plan_.image)
      // Its padding is never written. It is zero because the arena is, and because this buffer lives in all time steps,
      // so that no other one uses its memory.
      add_block_buffer(tensor.activation, tensor, reader_layout(tensor), -1);
    else if (scratch_layout(tensor) != nullptr)
      add_block_buffer(tensor.activation, tensor, &spaced, tensor.producer);
    else
      add_block_buffer(tensor.activation, tensor, reader_layout(tensor), operation_of(tensor));
  }

  int first_time_of_gradient(const Tensor& tensor) const {
    if (&tensor == aliases_.base_of(plan_.output)) return static_cast<int>(plan_.ops.size());
    for (std::size_t i = plan_.ops.size(); i-- > 0;)
      for (const Input& input : plan_.ops[i]->inputs())
        if (aliases_.base_of(input.tensor) == &tensor) return backward_time(static_cast<int>(i));
    return backward_time(tensor.producer);
  }

  void plan_gradient(Tensor& tensor) {
    if (const PaddedLayout* const layout = scratch_layout(tensor)) {
      tensor.gradient = {MemoryRef::Region::kScratch, gradient_scratch_ + layout->origin(), layout->plane(),
                         layout->row()};
      return;
    }
    const bool spaced = tensor.producer >= 0 && reader_layout(tensor) != nullptr;
    const PaddedLayout layout{tensor.extent, {}};
    add_block_buffer(tensor.gradient, tensor, spaced ? &layout : nullptr, first_time_of_gradient(tensor));
  }

  void assign_block_memory() {
    std::vector<Lifetime> lifetimes;
    for (const BlockBuffer& each : buffers_) lifetimes.push_back(each.lifetime);
    const MemoryAssignment assignment = assign_offsets(lifetimes);
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      buffers_[i].ref->offset += plan_.block_size + assignment.offsets[i];
    plan_.block_size += assignment.total;
  }

  ExecutionPlan& plan_;
  const Aliases& aliases_;
  std::int64_t gradient_scratch_ = 0;
  std::vector<BlockBuffer> buffers_;
};

}  // namespace

Tensor* Aliases::base_of(Tensor* tensor) const {
  for (const auto& [view, base] : *this)
    if (view == tensor) return base_of(base);
  return tensor;
}

// Greedy by size: the largest buffer first, each at the lowest offset that is free during its lifetime.
MemoryAssignment assign_offsets(const std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(lifetimes[b].size, a) < std::pair(lifetimes[a].size, b);
  });
  MemoryAssignment memory{std::vector<std::int64_t>(lifetimes.size()), 0};
  std::vector<std::size_t> assigned;  // sorted by offset
  for (const std::size_t i : order) {
    const Lifetime& own = lifetimes[i];
    std::int64_t offset = 0;
    for (const std::size_t other : assigned) {
      const Lifetime& theirs = lifetimes[other];
      if (theirs.first > own.last || theirs.last < own.first) continue;
      if (offset + own.size <= memory.offsets[other]) break;
      offset = std::max(offset, memory.offsets[other] + theirs.size);
    }
    memory.offsets[i] = offset;
    memory.total = std::max(memory.total, offset + own.size);
    const auto by_offset = [&](std::size_t a, std::size_t b) { return memory.offsets[a] < memory.offsets[b]; };
    assigned.insert(std::upper_bound(assigned.begin(), assigned.end(), i, by_offset), i);
  }
  return memory;
}

void plan_memory(ExecutionPlan& plan, const Aliases& aliases) { MemoryPlanner(plan, aliases).run(); }

}  // namespace mnistcnn::engine::lanes
