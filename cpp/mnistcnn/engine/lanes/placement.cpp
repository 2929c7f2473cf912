#include "mnistcnn/engine/lanes/placement.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "mnistcnn/engine/lanes/ops/chain_op.h"
#include "mnistcnn/engine/lanes/ops/convolution_op.h"

namespace mnistcnn::engine::lanes {
namespace {

class Placement {
 public:
  Placement(Plan& plan, const Views& views, const std::vector<Value*>& lazy)
      : plan_(plan), views_(views), lazy_(lazy) {}

  void place() {
    place_operations();
    for (Value& value : plan_.values)
      if (views_.root_of(&value) == &value) {
        place_activation(value);
        place_gradient(value);
      }
    place_shared();
    for (const auto& [view, base] : views_) {
      const Value* root = views_.root_of(base);
      view->activation = seen_as(view->extent, root->activation);
      view->gradient = seen_as(view->extent, root->gradient);
      view->trains = root->trains;
    }
    plan_.block_size = (plan_.block_size / kLanes | 1) * kLanes + kLanes;  // blocks don't begin at the same sets
  }

 private:
  // The convolution that is the only reader of a value.
  const ConvolutionOp* convolution_reading(const Value& value) const {
    if (value.uses != 1 || &value == plan_.output) return nullptr;
    for (const auto& op : plan_.ops)
      if (op->inputs()[0].value == &value) return dynamic_cast<const ConvolutionOp*>(op.get());
    return nullptr;
  }

  // The convolution in whose scratch memory the gradient of a value can stay: nobody but one chain reads the value, and
  // nothing happens between the two.
  const ConvolutionOp* private_producer(const Value& value) const {
    if (value.uses != 1 || &value == plan_.output || value.producer < 0) return nullptr;
    const auto producer = static_cast<std::size_t>(value.producer);
    const auto* convolution = dynamic_cast<const ConvolutionOp*>(plan_.ops[producer].get());
    if (convolution == nullptr || producer + 1 == plan_.ops.size()) return nullptr;
    const Op& next = *plan_.ops[producer + 1];
    const bool chain_follows = dynamic_cast<const ChainOp*>(&next) != nullptr && next.inputs()[0].value == &value;
    return chain_follows ? convolution : nullptr;
  }

  bool is_lazy(const Value& value) const { return std::find(lazy_.begin(), lazy_.end(), &value) != lazy_.end(); }

  // Scratch of threads is every operation's own while it works; the rest is for itself.
  void place_operations() {
    Needs most;
    for (const auto& op : plan_.ops) {
      const Needs needs = op->needs();
      most.input_scratch = std::max(most.input_scratch, needs.input_scratch);
      most.gradient_scratch = std::max(most.gradient_scratch, needs.gradient_scratch);
      most.temporary = std::max(most.temporary, needs.temporary);
      most.workspace = std::max(most.workspace, needs.workspace);
    }
    const auto behind = [](std::int64_t place, std::int64_t n) { return place + whole_vectors(n) + kLanes; };
    gradient_scratch_ = behind(0, most.input_scratch);
    const std::int64_t temporary = behind(gradient_scratch_, most.gradient_scratch),
                       workspace = behind(temporary, most.temporary);
    plan_.thread_size = behind(workspace, most.workspace);
    for (const auto& op : plan_.ops) {
      const Needs needs = op->needs();
      op->place({0, gradient_scratch_, temporary, workspace, plan_.block_size, plan_.batch_size, plan_.packed_size});
      plan_.block_size += whole_vectors(needs.block);
      plan_.batch_size += needs.batch;
      plan_.packed_size += needs.packed;
    }
  }

  // Memory of a block in the form of a convolution's own scratch, so that it needs no copy.
  static Buffer laid_out(const ScratchLayout& layout) {
    return {Buffer::Kind::kBlock, layout.origin(), layout.plane(), layout.row()};
  }
  static Buffer dense_buffer(const Extent& extent) { return seen_as(extent, {Buffer::Kind::kBlock, 0, 0, 0}); }
  static Buffer seen_as(const Extent& extent, Buffer buffer) {
    buffer.plane = extent.positions() * kLanes;
    buffer.row = extent.columns * kLanes;
    return buffer;
  }

  // A buffer of some values that lies in the block, and how long it is needed.
  struct Shared {
    Buffer* buffer;
    Lifetime lifetime;
  };

  void share(Buffer& buffer, const Value& value, const ScratchLayout* layout, int first) {
    const std::int64_t size = layout ? layout->size() : value.extent.elements() * kLanes;
    buffer = layout ? laid_out(*layout) : dense_buffer(value.extent);
    shared_.push_back({&buffer, {first, back_at(value.producer), size}});
  }

  // Moments: each operation forward, the loss, each operation backward. A producer may want its output again.
  int back_at(int operation) const { return 2 * static_cast<int>(plan_.ops.size()) - operation; }

  void place_activation(Value& value) {
    const ConvolutionOp *const producer = private_producer(value), *const reader = convolution_reading(value);
    const ScratchLayout spaced{value.extent, {}};
    if (&value == plan_.image)
      share(value.activation, value, reader ? &reader->input_layout() : nullptr, -1);
    else if (producer != nullptr || !is_lazy(value))
      share(value.activation, value, producer ? &spaced : nullptr, value.producer);
  }

  int first_use_of_gradient(const Value& value) const {
    if (&value == views_.root_of(plan_.output)) return static_cast<int>(plan_.ops.size());
    for (std::size_t i = plan_.ops.size(); i-- > 0;)
      for (const Input& input : plan_.ops[i]->inputs())
        if (views_.root_of(input.value) == &value) return back_at(static_cast<int>(i));
    return back_at(value.producer);
  }

  void place_gradient(Value& value) {
    if (const ConvolutionOp* const producer = private_producer(value)) {
      const ScratchLayout& layout = producer->gradient_layout();
      value.gradient = {Buffer::Kind::kThread, gradient_scratch_ + layout.origin(), layout.plane(), layout.row()};
      return;
    }
    const bool spaced = is_lazy(value) && convolution_reading(value) != nullptr;
    const ScratchLayout layout{value.extent, {}};
    share(value.gradient, value, spaced ? &layout : nullptr, first_use_of_gradient(value));
  }

  void place_shared() {
    std::vector<Lifetime> lifetimes;
    for (const Shared& each : shared_) lifetimes.push_back(each.lifetime);
    const SharedMemory memory = share_memory(lifetimes);
    for (std::size_t i = 0; i < shared_.size(); ++i) shared_[i].buffer->offset += plan_.block_size + memory.places[i];
    plan_.block_size += memory.total;
  }

  Plan& plan_;
  const Views& views_;
  const std::vector<Value*>& lazy_;
  std::int64_t gradient_scratch_ = 0;
  std::vector<Shared> shared_;
};

}  // namespace

Value* Views::root_of(Value* value) const {
  for (const auto& [view, base] : *this)
    if (view == value) return root_of(base);
  return value;
}

// The largest first, each at the lowest place that is free all its life.
SharedMemory share_memory(const std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(lifetimes[b].size, a) < std::pair(lifetimes[a].size, b);
  });
  SharedMemory memory{std::vector<std::int64_t>(lifetimes.size()), 0};
  std::vector<std::size_t> placed;  // by place
  for (const std::size_t i : order) {
    const Lifetime& mine = lifetimes[i];
    std::int64_t place = 0;
    for (const std::size_t other : placed) {
      const Lifetime& theirs = lifetimes[other];
      if (theirs.first > mine.last || theirs.last < mine.first) continue;
      if (place + mine.size <= memory.places[other]) break;
      place = std::max(place, memory.places[other] + theirs.size);
    }
    memory.places[i] = place;
    memory.total = std::max(memory.total, place + mine.size);
    const auto behind = [&](std::size_t a, std::size_t b) { return memory.places[a] < memory.places[b]; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, behind), i);
  }
  return memory;
}

void place_memory(Plan& plan, const Views& views, const std::vector<Value*>& lazy) {
  Placement(plan, views, lazy).place();
}

}  // namespace mnistcnn::engine::lanes
