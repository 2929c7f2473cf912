#pragma once
#include "mnistcnn/engine/lanes/execution/batch_io.h"
#include "mnistcnn/engine/lanes/execution/parameter_binding.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/executor.h"

// Assembly of the programs from packing, input, operations, loss and gradient reduction. Built once per engine.
namespace mnistcnn::engine::lanes {

// The programs of a plan, one per kind of call.
class Programs {
 public:
  Programs(const ExecutionPlan& plan, BatchIo& io, const ParameterBinding& binding);

  Executor predict;             // u8 images of a data set -> outputs
  Executor forward_training;    // f32 images -> outputs; keeps the memory that `backward` reads
  Executor forward_evaluation;  // the same with the layers in evaluation mode
  Executor backward;            // output gradients -> gradients of the parameters and the images
  Executor step;                // u8 images of a data set, labels -> loss, gradients of the parameters
};

}  // namespace mnistcnn::engine::lanes
