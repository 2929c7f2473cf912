#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/tensor_pointers.h"

// The connection between a model's tensors and the uses of parameters in a plan. Used by LanesEngine in each call.
namespace mnistcnn::engine::lanes {

// Stores the pointers of a model's tensors in the batch during a call, and sums the gradients of parameters that
// several nodes use.
class ParameterBinding {
 public:
  // Tensors that a call needs in addition to the parameters: gradients, or buffers and counters, or all.
  enum class Call { kForward, kBackward, kStep };

  ParameterBinding(const ExecutionPlan& plan, const network::Analysis& analysis);

  // Throw std::invalid_argument unless the numbers of tensors match the network. Sets the gradients of unused
  // parameters to zero.
  void bind(Call call, const TensorPointers& tensors, BatchContext& batch);
  static void release(BatchContext& batch);

  // Add a stage that sums the gradients of shared parameters; none if no parameter is shared.
  void add_shared_gradients(Program& program) const;

 private:
  void check(Call call, const TensorPointers& tensors) const;

  const ExecutionPlan& plan_;
  const network::Analysis& analysis_;
  std::vector<float> shared_gradients_;  // of all uses of shared parameters except the last
};

}  // namespace mnistcnn::engine::lanes
