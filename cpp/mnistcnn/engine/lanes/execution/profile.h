#pragma once
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/stopwatch.h"
#include "mnistcnn/engine/profile.h"

// Conversion of measured times to the public StepProfile. Called by LanesEngine::stop_profile.
namespace mnistcnn::engine::lanes {

// Return the measured times by operation of the plan, and of the overheads.
StepProfile make_profile(const Stopwatch& stopwatch, const ExecutionPlan& plan);

}  // namespace mnistcnn::engine::lanes
