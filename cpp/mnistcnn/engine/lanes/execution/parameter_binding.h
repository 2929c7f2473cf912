#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/tensor_pointers.h"

namespace mnistcnn::engine::lanes {

// Connects the tensors of a model to the batch for the duration of a call, and adds up the gradients of parameters that
// several nodes share.
class ParameterBinding {
 public:
  ParameterBinding(const ExecutionPlan& plan, const network::Analysis& analysis);

  // Throw std::invalid_argument unless the numbers of tensors fit the network. Sets the gradients of unused parameters
  // to zero.
  void bind(const TensorPointers& tensors, BatchContext& batch);
  static void release(BatchContext& batch);

  // Adds nothing if no parameter is shared.
  void add_shared_gradients(Program& program) const;

 private:
  void check(const TensorPointers& tensors) const;

  const ExecutionPlan& plan_;
  const network::Analysis& analysis_;
  std::vector<float> shared_gradients_;  // of all uses of shared parameters but the last
};

}  // namespace mnistcnn::engine::lanes
