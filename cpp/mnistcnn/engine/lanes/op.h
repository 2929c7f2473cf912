#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/program.h"

namespace mnistcnn::engine::lanes {

// Room that an operation needs besides its values.
struct Needs {
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0;  // floats per thread
  std::int64_t block = 0;                                                              // floats per block
  std::int64_t batch = 0;   // floats per block of the batch, contiguous rows
  std::int64_t packed = 0;  // floats, packed weights
};

// Where the memory of one operation begins in each region.
struct Places {
  std::int64_t input_scratch = 0, gradient_scratch = 0, temporary = 0, workspace = 0, block = 0, batch = 0, packed = 0;
};

// An input of an operation. Gradients of a value that is used several times are added in the order of the operations,
// the last one first: it sets, the others add.
struct Input {
  Value* value = nullptr;
  bool adds_gradient = false;

  bool wants_gradient(const Run& run) const { return value->trains || run.image_gradients; }
};

// One layer, or several that are computed together.
class Op {
 public:
  explicit Op(std::vector<Input> inputs) : inputs_(std::move(inputs)) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  std::vector<Input>& inputs() { return inputs_; }
  const std::vector<Input>& inputs() const { return inputs_; }

  // Its place among the operations, and the nodes of the graph that it computes.
  int number() const { return number_; }
  const std::vector<int>& nodes() const { return nodes_; }
  void begin(int number, int node) {
    number_ = number;
    nodes_ = {node};
  }
  void add_node(int node) { nodes_.push_back(node); }

  virtual Needs needs() const { return {}; }
  void place(const Places& places) { places_ = places; }

  // Weights in the order in which kernels read them: how many independent pieces, how large each, and one of them.
  virtual int packing_jobs() const { return 0; }
  virtual std::int64_t packing_work() const { return 0; }
  virtual void pack(const Run&, int) const {}
  virtual void add_forward(Program& program, bool training) = 0;
  virtual void add_backward(Program& program) = 0;
  // Before each run, by one thread.
  virtual void prepare(const Run&) {}
  // A gradient that this operation leaves in the partials.
  struct PartialGradient {
    int use = -1;              // of the parameter; see Plan::uses
    std::int64_t count = 0;    // elements
    std::int64_t partial = 0;  // where it begins in the partials
  };
  virtual std::vector<PartialGradient*> partial_gradients() { return {}; }

 protected:
  const Input& input() const { return inputs_[0]; }

  std::vector<Input> inputs_;
  Places places_;

 private:
  int number_ = 0;
  std::vector<int> nodes_;
};

inline View dense(float* data, const Extent& extent) {
  return {data, extent.positions() * kLanes, extent.columns * kLanes};
}

inline float* thread_memory(const BlockRun& at, std::int64_t place) {
  return at.run.thread_memory + at.thread * at.run.thread_size + place;
}

// Calls compute(view) for the gradient of an input; when it must be added to what others gave, goes by way of
// `temporary`, which has room for the value.
template <class Compute>
void give_gradient(const BlockRun& at, const Input& input, std::int64_t temporary, Compute compute) {
  const View target = at.view(input.value->gradient);
  if (!input.adds_gradient) return compute(target);
  const Extent& extent = input.value->extent;
  const View own = dense(thread_memory(at, temporary), extent);
  compute(own);
  at.run.kernels->add(own.data, target.data, extent.elements() * kLanes);
}

}  // namespace mnistcnn::engine::lanes
