#pragma once
#include <functional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "mnistcnn/engine/lanes/runtime/context.h"

// A computation over a batch as a list of stages. Operations add their stages when the engine is built; the Executor
// runs them. The result is that of running the stages one after another.
namespace mnistcnn::engine::lanes {

// Function of a stage. It runs on the thread pool, where an exception would end the process, so it must be declared
// noexcept. It must not allocate memory either: buffers belong to the workspace (see MemoryRequirements).
template <class Function, class... Arguments>
concept StageFunction = std::is_nothrow_invocable_v<const Function&, Arguments...>;

enum class Barrier { kBefore, kNone };

// Called for each block. Consecutive per-block stages run on one block after another, without a barrier between them.
struct PerBlock {
  std::function<void(const BlockContext&)> run;
  // If the batch has fewer blocks than threads, several threads call `run` for a block, each for a part of it.
  bool divisible = false;
  // Whether a part must wait until all parts of the previous stage are done.
  Barrier barrier = Barrier::kBefore;
};

// Independent tasks, with a barrier before and after.
struct ParallelFor {
  std::function<int(const BatchContext&)> tasks;
  std::function<void(const BatchContext&, int task, int thread)> run;
};

// Called once, by the thread that finished the previous phase.
struct Serial {
  std::function<void(const BatchContext&)> run;
};

struct Stage {
  std::variant<PerBlock, ParallelFor, Serial> body;
  TimeCategory category;
};

class Program {
 public:
  // Set the category of the stages that are added afterwards.
  void set_time_category(TimeCategory category) { category_ = category; }

  void for_each_block(StageFunction<const BlockContext&> auto run) { add(PerBlock{std::move(run)}); }
  // `run` computes the part `block.part` of a block.
  void for_each_part(StageFunction<const BlockContext&> auto run, Barrier barrier = Barrier::kBefore) {
    add(PerBlock{std::move(run), true, barrier});
  }
  void parallel_for(std::function<int(const BatchContext&)> tasks,
                    StageFunction<const BatchContext&, int, int> auto run) {
    add(ParallelFor{std::move(tasks), std::move(run)});
  }
  void serial(StageFunction<const BatchContext&> auto run) { add(Serial{std::move(run)}); }

  const std::vector<Stage>& stages() const { return stages_; }

 private:
  void add(std::variant<PerBlock, ParallelFor, Serial> body) { stages_.push_back({std::move(body), category_}); }

  std::vector<Stage> stages_;
  TimeCategory category_;
};

}  // namespace mnistcnn::engine::lanes
