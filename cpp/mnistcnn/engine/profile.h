#pragma once
#include <cstdint>
#include <string>
#include <vector>

// Time of training steps by layer. Times are in seconds, summed over all threads and steps.
namespace mnistcnn::engine {

// Time of one operation of an engine: a layer, or several fused layers.
struct OperationTime {
  std::vector<int> nodes;  // indices in the graph
  double forward = 0, input_gradients = 0, weight_gradients = 0;
  bool gives_input_gradients = false;  // false if no preceding layer has parameters
};

// Time of work that does not belong to a layer.
struct OverheadTime {
  std::string name;
  double seconds = 0;
};

struct StepProfile {
  std::string instruction_set;
  int threads = 0;
  std::int64_t steps = 0;
  double seconds = 0;  // wall-clock time of the steps
  std::vector<OperationTime> operations;
  std::vector<OverheadTime> overheads;
};

// Duration of one task of a training step. Threads wait for each other after every phase.
struct TaskTime {
  static constexpr int kSerialPart = -1;  // the work of one thread after the tasks of a phase

  int phase = 0;
  int task = 0;  // index in the phase, or kSerialPart
  double seconds = 0;
};
using StepTasks = std::vector<TaskTime>;  // in the order of execution

}  // namespace mnistcnn::engine
