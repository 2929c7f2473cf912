#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/run.h"

namespace mnistcnn::engine::lanes {

// A computation in the order in which it must appear to happen.
//   blocks: for each block; neighbouring block parts run one after another on a block without any barrier between
//   tiles:  `count` independent pieces, after everything before and before everything behind
//   once:   by one thread, when everything before is done
struct Part {
  std::function<void(const BlockRun&)> block;
  std::function<int(const Run&)> count;
  std::function<void(const Run&, int piece, int thread)> tile;
  std::function<void(const Run&)> once;
  Work work{};  // what its time counts for
};

class Program {
 public:
  // What the time of the parts that follow counts for.
  void count_for(Work work) { work_ = work; }

  void blocks(std::function<void(const BlockRun&)> work) { parts_.push_back({std::move(work), {}, {}, {}, work_}); }
  void tiles(std::function<int(const Run&)> count, std::function<void(const Run&, int, int)> work) {
    parts_.push_back({{}, std::move(count), std::move(work), {}, work_});
  }
  void once(std::function<void(const Run&)> work) { parts_.push_back({{}, {}, {}, std::move(work), work_}); }

  const std::vector<Part>& parts() const { return parts_; }

 private:
  std::vector<Part> parts_;
  Work work_;
};

}  // namespace mnistcnn::engine::lanes
