#include "mnistcnn/engine/lanes/execution/programs.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace mnistcnn::engine::lanes {
namespace {

// Floats that a task packs, and elements whose partial gradients it adds. With smaller tasks, claiming them would take
// a noticeable share of the time.
constexpr std::int64_t kPackedPerTask = 4096, kAddedPerTask = 1024;

// Groups small items into tasks of about `task_size` floats.
template <class Item>
struct TaskList {
  explicit TaskList(std::int64_t size) : task_size(size), size_of_last(size) {}

  std::int64_t task_size, size_of_last;
  std::vector<std::vector<Item>> tasks;

  void add(Item item, std::int64_t size) {
    if (size_of_last >= task_size) tasks.push_back({}), size_of_last = 0;
    tasks.back().push_back(std::move(item));
    size_of_last += size;
  }
};

template <class Item, class Run>
void add_tasks(Program& program, std::vector<std::vector<Item>> tasks, Run run) {
  if (tasks.empty()) return;
  const int count = static_cast<int>(tasks.size());
  program.parallel_for([count](const BatchContext&) { return count; },
                       [tasks = std::move(tasks), run](const BatchContext& batch, int task, int) noexcept {
                         for (const Item& item : tasks[static_cast<std::size_t>(task)]) run(batch, item);
                       });
}

// ---- packing of the weights

struct PackingItem {
  const Op* op;
  int task;
};

void add_packing(Program& program, const ExecutionPlan& plan) {
  TaskList<PackingItem> list(kPackedPerTask);
  for (const auto& op : plan.ops)
    for (int task = 0; task < op->packing_tasks(); ++task) list.add({op.get(), task}, op->packing_task_size());
  program.set_time_category({kPacking});
  add_tasks(program, std::move(list.tasks),
            [](const BatchContext& batch, const PackingItem& item) { item.op->pack(batch, item.task); });
}

// ---- reduction of the partial gradients

struct GradientSlice {
  int parameter_use;          // index of the parameter use
  std::int64_t first, count;  // range of elements
  std::int64_t partial;       // offset in the partial gradients
};

// Sum the partial gradients of all groups in a binary tree, whose shape does not depend on the number of threads.
void reduce(const BatchContext& batch, const GradientSlice& slice) {
  const int groups = batch.partial_groups();
  const auto partial = [&](int group) { return batch.partials + group * batch.partial_size + slice.partial; };
  for (int distance = 1; distance < groups; distance *= 2)
    for (int group = 0; group + distance < groups; group += 2 * distance)
      batch.kernels->add(partial(group + distance), partial(group), slice.count);
  std::copy_n(partial(0), slice.count, batch.gradients[static_cast<std::size_t>(slice.parameter_use)] + slice.first);
}

void add_reduction(Program& program, const ExecutionPlan& plan) {
  TaskList<GradientSlice> list(kAddedPerTask);
  for (const PartialGradient& each : plan.partial_gradients)
    for (std::int64_t first = 0; first < each.count; first += kAddedPerTask) {
      const std::int64_t count = std::min(kAddedPerTask, each.count - first);
      list.add({each.use, first, count, each.partial + first}, count);
    }
  program.set_time_category({kReduction});
  add_tasks(program, std::move(list.tasks), reduce);
}

// ---- passes

enum class Images { kDataSet, kFloats };  // u8 images of a data set, or f32 images

void add_forward(Program& program, const ExecutionPlan& plan, BatchIo& io, Images images, bool training) {
  add_packing(program, plan);
  program.set_time_category({kGather});
  if (images == Images::kDataSet)
    program.for_each_block([&io](const BlockContext& block) noexcept { io.gather_images(block); });
  else
    program.for_each_block([&io](const BlockContext& block) noexcept { io.read_images(block); });
  for (const auto& op : plan.ops) {
    program.set_time_category(time_category(op->index(), Pass::kForward));
    op->add_forward(program, training);
  }
}

void add_backward(Program& program, const ExecutionPlan& plan) {
  for (std::size_t i = plan.ops.size(); i-- > 0;) {
    program.set_time_category(time_category(static_cast<int>(i), Pass::kInputGradients));
    plan.ops[i]->add_backward(program);
  }
}

Program forward_program(const ExecutionPlan& plan, BatchIo& io, Images images, bool training) {
  Program program;
  add_forward(program, plan, io, images, training);
  program.for_each_block([&io](const BlockContext& block) noexcept { io.write_outputs(block); });
  return program;
}

Program backward_program(const ExecutionPlan& plan, BatchIo& io, const ParameterBinding& binding) {
  Program program;
  program.for_each_block([&io](const BlockContext& block) noexcept { io.read_output_gradients(block); });
  add_backward(program, plan);
  program.for_each_block([&io](const BlockContext& block) noexcept { io.write_image_gradients(block); });
  add_reduction(program, plan);
  binding.add_shared_gradients(program);
  return program;
}

Program step_program(const ExecutionPlan& plan, BatchIo& io, const ParameterBinding& binding) {
  Program program;
  add_forward(program, plan, io, Images::kDataSet, true);
  program.set_time_category({kLoss});
  program.for_each_block([&io](const BlockContext& block) noexcept { io.compute_loss(block); });
  add_backward(program, plan);
  add_reduction(program, plan);
  binding.add_shared_gradients(program);
  return program;
}

}  // namespace

// The backward reads the block memory of the forward, so both keep it.
Programs::Programs(const ExecutionPlan& plan, BatchIo& io, const ParameterBinding& binding)
    : predict(forward_program(plan, io, Images::kDataSet, false), BlockMemory::kTemporary),
      forward_training(forward_program(plan, io, Images::kFloats, true), BlockMemory::kKept),
      forward_evaluation(forward_program(plan, io, Images::kFloats, false), BlockMemory::kKept),
      backward(backward_program(plan, io, binding), BlockMemory::kKept),
      step(step_program(plan, io, binding), BlockMemory::kTemporary) {}

}  // namespace mnistcnn::engine::lanes
