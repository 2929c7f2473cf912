#include "mnistcnn/engine/lanes/runtime/executor.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace mnistcnn::engine::lanes {

Executor::Executor(Program program, BlockMemory block_memory)
    : program_(std::move(program)), block_memory_(block_memory) {
  phases_ = phases_of(Blocks::kWhole);
  divided_phases_ = phases_of(Blocks::kDivided);
  const auto has_blocks = [](const Phase& phase) { return !phase.blocks.empty(); };
  has_one_block_phase_ = std::ranges::count_if(phases_, has_blocks) <= 1;
}

std::vector<Executor::Phase> Executor::phases_of(Blocks blocks) {
  std::vector<Phase> phases;
  for (const Stage& stage : program_.stages()) {
    if (std::holds_alternative<Serial>(stage.body)) {
      if (phases.empty()) phases.push_back({this});
      phases.back().serial.push_back(&stage);
    } else if (std::holds_alternative<ParallelFor>(stage.body)) {
      phases.push_back({.owner = this, .parallel_for = &stage});
    } else {
      if (phases.empty() || !joins(stage, phases.back(), blocks)) phases.push_back({this});
      phases.back().blocks.push_back(&stage);
      phases.back().divided = blocks == Blocks::kDivided && std::get<PerBlock>(stage.body).divisible;
    }
  }
  return phases;
}

// Whether a per-block stage can run in the phase of the previous stages.
bool Executor::joins(const Stage& stage, const Phase& phase, Blocks blocks) {
  if (phase.blocks.empty() || !phase.serial.empty()) return false;
  if (blocks == Blocks::kWhole) return true;
  const PerBlock& body = std::get<PerBlock>(stage.body);
  return body.divisible ? phase.divided && body.barrier == Barrier::kNone : !phase.divided;
}

int Executor::tasks(const Phase& phase) const {
  if (phase.parallel_for) return std::get<ParallelFor>(phase.parallel_for->body).tasks(*batch_);
  return phase.blocks.empty() ? 0 : batch_->partial_groups() * (phase.divided ? batch_->parts : 1);
}

void Executor::run_task(void* context, int task, int thread) noexcept {
  const Phase& phase = *static_cast<Phase*>(context);
  if (!phase.parallel_for) return phase.owner->run_blocks(phase, task, thread);
  const BatchContext& batch = *phase.owner->batch_;
  const ScopedTimer timer(batch, thread, phase.parallel_for->category);
  std::get<ParallelFor>(phase.parallel_for->body).run(batch, task, thread);
}

// Parts of a block are consecutive tasks, so that in all phases about the same threads compute it.
void Executor::run_blocks(const Phase& phase, int task, int thread) const {
  const int parts = phase.divided ? batch_->parts : 1, group = task / parts;
  const int first = group * batch_->blocks_per_partial,
            end = std::min(first + batch_->blocks_per_partial, batch_->blocks);
  for (int index = first; index < end; ++index) {
    const int slot = memory_per_thread() && batch_->parts == 1 ? thread : index;
    const BlockContext block{*batch_, index, slot, thread, {task % parts, parts}};
    for (const Stage* stage : phase.blocks) {
      const ScopedTimer timer(*batch_, thread, stage->category);
      std::get<PerBlock>(stage->body).run(block);
    }
  }
}

void Executor::complete(void* context) noexcept {
  const Phase& phase = *static_cast<Phase*>(context);
  const BatchContext& batch = *phase.owner->batch_;
  for (const Stage* stage : phase.serial) {
    const ScopedTimer timer(batch, Stopwatch::kSerialStage, stage->category);
    std::get<Serial>(stage->body).run(batch);
  }
}

// Run all phases in the order of a pool with one thread.
void Executor::run_recorded(TaskRecorder& recorder) {
  recorder.begin_step();
  bool ascending = false;
  for (std::size_t i = 0; i < pool_phases_.size(); ++i, ascending = !ascending) {
    const common::ThreadPool::Phase& phase = pool_phases_[i];
    const int index = static_cast<int>(i);
    for (int k = 0; k < phase.tasks; ++k) {
      const int task = ascending ? k : phase.tasks - 1 - k;
      const TaskRecorder::Clock::time_point start = TaskRecorder::Clock::now();
      phase.run_task(phase.context, task, 0);
      recorder.add(index, task, start);
    }
    const TaskRecorder::Clock::time_point start = TaskRecorder::Clock::now();
    phase.complete(phase.context);
    recorder.add(index, TaskTime::kSerialPart, start);
  }
}

void Executor::execute(const BatchContext& batch, common::ThreadPool& pool,
                       common::ThreadPool::BorrowedThreads* borrowed) {
  batch_ = &batch;
  pool_phases_.clear();
  for (Phase& phase : batch.parts > 1 ? divided_phases_ : phases_)
    pool_phases_.push_back({tasks(phase), run_task, complete, &phase});
  if (batch.task_recorder)
    run_recorded(*batch.task_recorder);
  else
    pool.run(pool_phases_, borrowed);
  batch_ = nullptr;
}

}  // namespace mnistcnn::engine::lanes
