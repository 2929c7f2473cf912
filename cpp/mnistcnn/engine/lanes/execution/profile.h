#pragma once
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/stopwatch.h"
#include "mnistcnn/engine/profile.h"

namespace mnistcnn::engine::lanes {

// The measured times by operation of the plan and by chore.
StepProfile make_profile(const Stopwatch& stopwatch, const ExecutionPlan& plan);

}  // namespace mnistcnn::engine::lanes
