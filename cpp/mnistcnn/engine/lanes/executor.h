#pragma once
#include <vector>

#include "mnistcnn/common/thread_team.h"
#include "mnistcnn/engine/lanes/program.h"

namespace mnistcnn::engine::lanes {

// A program cut into phases at its barriers, and run by a team.
class Executor {
 public:
  explicit Executor(Program program);

  // One phase of blocks at most: a block's memory is free for the next block when it is done, so it belongs to the
  // thread instead.
  bool memory_per_thread() const { return block_phases_ <= 1 && !shares_; }
  // Another program goes on with the blocks' memory, so each keeps its own.
  void share_memory_of_blocks() { shares_ = true; }

  void execute(const Run& run, common::ThreadTeam& team, common::ThreadTeam::Lender* lender = nullptr);

 private:
  struct Phase {
    Executor* owner;
    std::vector<const Part*> blocks;
    const Part* tiles = nullptr;
    std::vector<const Part*> completions;
  };

  static void work(void* context, int unit, int thread);
  static void complete(void* context);
  int units(const Phase& phase) const;

  Program program_;
  std::vector<Phase> phases_;
  std::vector<common::ThreadTeam::Phase> team_phases_;
  int block_phases_ = 0;
  bool shares_ = false;
  const Run* run_ = nullptr;
};

}  // namespace mnistcnn::engine::lanes
