#pragma once
#include <cstdint>
#include <string>
#include <vector>

// The time of training steps by layer. Seconds are the sum over all threads and steps.
namespace mnistcnn::engine {

// One operation of an engine: a layer, or several fused layers.
struct OperationTime {
  std::vector<int> nodes;  // of the graph
  double forward = 0, input_gradients = 0, weight_gradients = 0;
  bool gives_input_gradients = false;  // false if no layer before it has parameters
};

// Work that belongs to no layer.
struct ChoreTime {
  std::string name;
  double seconds = 0;
};

struct StepProfile {
  std::string instruction_set;
  int threads = 0;
  std::int64_t steps = 0;
  double seconds = 0;  // wall time of the calls
  std::vector<OperationTime> operations;
  std::vector<ChoreTime> chores;
};

}  // namespace mnistcnn::engine
