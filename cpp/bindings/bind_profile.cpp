#include "bindings.h"
#include "mnistcnn/engine/engine.h"

namespace mnistcnn::bindings {
namespace {

using engine::Engine;

// As {"instruction_set", "threads", "steps", "seconds", "operations": [{"nodes", "forward", ...}], "chores": {name: s}}
py::dict stop_profile(Engine& engine) {
  const engine::StepProfile profile = engine.stop_profile();
  py::list operations;
  for (const engine::OperationTime& each : profile.operations) {
    py::dict operation;
    operation["nodes"] = each.nodes;
    operation["forward"] = each.forward;
    operation["input_gradients"] = each.input_gradients;
    operation["weight_gradients"] = each.weight_gradients;
    operation["gives_input_gradients"] = each.gives_input_gradients;
    operations.append(operation);
  }
  py::dict chores;
  for (const engine::ChoreTime& each : profile.chores) chores[py::str(each.name)] = each.seconds;
  py::dict record;
  record["instruction_set"] = profile.instruction_set;
  record["threads"] = profile.threads;
  record["steps"] = profile.steps;
  record["seconds"] = profile.seconds;
  record["operations"] = operations;
  record["chores"] = chores;
  return record;
}

}  // namespace

void bind_profile(py::module_& module) {
  module.def("start_profile", &Engine::start_profile, py::arg("engine"));
  module.def("stop_profile", &stop_profile, py::arg("engine"));
  module.def("memory_bytes_of_step", &Engine::memory_bytes_of_step, py::arg("engine"), py::arg("images"));
}

}  // namespace mnistcnn::bindings
