#pragma once
#include <functional>
#include <utility>
#include <variant>
#include <vector>

#include "mnistcnn/engine/lanes/runtime/context.h"

// A computation over a batch as a list of stages, in the order in which they must appear to happen. The functions run
// on the thread pool and must not throw.
namespace mnistcnn::engine::lanes {

// Called for every block. Consecutive stages of this kind run one after another on a block, without a barrier.
struct PerBlock {
  std::function<void(const BlockContext&)> run;
};

// Independent tasks, with a barrier before and after.
struct ParallelFor {
  std::function<int(const BatchContext&)> tasks;
  std::function<void(const BatchContext&, int task, int thread)> run;
};

// Called once, by the thread that finished the phase before.
struct Serial {
  std::function<void(const BatchContext&)> run;
};

struct Stage {
  std::variant<PerBlock, ParallelFor, Serial> body;
  TimeCategory category;
};

class Program {
 public:
  // Attribute the time of the stages added from here on.
  void set_time_category(TimeCategory category) { category_ = category; }

  void for_each_block(std::function<void(const BlockContext&)> run) { add(PerBlock{std::move(run)}); }
  void parallel_for(std::function<int(const BatchContext&)> tasks,
                    std::function<void(const BatchContext&, int, int)> run) {
    add(ParallelFor{std::move(tasks), std::move(run)});
  }
  void serial(std::function<void(const BatchContext&)> run) { add(Serial{std::move(run)}); }

  const std::vector<Stage>& stages() const { return stages_; }

 private:
  void add(std::variant<PerBlock, ParallelFor, Serial> body) { stages_.push_back({std::move(body), category_}); }

  std::vector<Stage> stages_;
  TimeCategory category_;
};

}  // namespace mnistcnn::engine::lanes
