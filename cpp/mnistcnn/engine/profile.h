#pragma once
#include <cstdint>
#include <string>
#include <vector>

// Where the time of training steps goes. Seconds are those of all threads together, summed over the steps.
namespace mnistcnn::engine {

// One operation of an engine: a layer, or several that are computed together.
struct OperationTime {
  std::vector<int> nodes;  // of the graph
  double forward = 0, input_gradients = 0, weight_gradients = 0;
  bool gives_input_gradients = false;  // false where nothing in front of it is trained
};

// What belongs to no layer.
struct ChoreTime {
  std::string name;
  double seconds = 0;
};

struct StepProfile {
  std::string instruction_set;
  int threads = 0;
  std::int64_t steps = 0;
  double seconds = 0;  // from the call of each step to its return, as a clock on the wall shows it
  std::vector<OperationTime> operations;
  std::vector<ChoreTime> chores;
};

}  // namespace mnistcnn::engine
