#pragma once
#include "mnistcnn/engine/lanes/execution/batch_io.h"
#include "mnistcnn/engine/lanes/execution/parameter_binding.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/executor.h"

namespace mnistcnn::engine::lanes {

// The programs of a plan: one for each kind of call.
class Programs {
 public:
  Programs(const ExecutionPlan& plan, BatchIo& io, const ParameterBinding& binding);

  Executor predict;           // images of a data set -> outputs
  Executor forward_training;  // float images -> outputs, keeps what `backward` needs
  Executor forward_evaluation;
  Executor backward;  // output gradients -> gradients of the parameters and the images
  Executor step;      // images of a data set, labels -> loss, gradients of the parameters
};

}  // namespace mnistcnn::engine::lanes
