#include "mnistcnn/engine/lanes/executor.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {

Executor::Executor(Program program) : program_(std::move(program)) {
  for (const Part& part : program_.parts()) {
    if (part.once) {
      if (phases_.empty()) phases_.push_back({this, {}, nullptr, {}});
      phases_.back().completions.push_back(&part);
    } else if (part.tile) {
      phases_.push_back({this, {}, &part, {}});
    } else {
      const bool joins = !phases_.empty() && !phases_.back().blocks.empty() && phases_.back().completions.empty();
      if (!joins) {
        phases_.push_back({this, {}, nullptr, {}});
        ++block_phases_;
      }
      phases_.back().blocks.push_back(&part);
    }
  }
}

int Executor::units(const Phase& phase) const {
  if (phase.tiles) return phase.tiles->count(*run_);
  return phase.blocks.empty() ? 0 : run_->partial_groups();
}

void Executor::work(void* context, int unit, int thread) {
  const Phase& phase = *static_cast<Phase*>(context);
  const Run& run = *phase.owner->run_;
  if (phase.tiles) {
    const Timed timed(run, thread, phase.tiles->work);
    return phase.tiles->tile(run, unit, thread);
  }
  const int first = unit * run.blocks_per_partial, end = std::min(first + run.blocks_per_partial, run.blocks);
  for (int block = first; block < end; ++block) {
    const BlockRun at{run, block, phase.owner->memory_per_thread() ? thread : block, thread};
    for (const Part* part : phase.blocks) {
      const Timed timed(run, thread, part->work);
      part->block(at);
    }
  }
}

void Executor::complete(void* context) {
  const Phase& phase = *static_cast<Phase*>(context);
  const Run& run = *phase.owner->run_;
  for (const Part* part : phase.completions) {
    const Timed timed(run, Stopwatch::kCompletion, part->work);
    part->once(run);
  }
}

void Executor::execute(const Run& run, common::ThreadTeam& team, common::ThreadTeam::Lender* lender) {
  run_ = &run;
  team_phases_.clear();
  for (Phase& phase : phases_) team_phases_.push_back({units(phase), work, complete, &phase});
  team.run(team_phases_, lender);
  run_ = nullptr;
}

}  // namespace mnistcnn::engine::lanes
