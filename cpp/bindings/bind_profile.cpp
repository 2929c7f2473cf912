#include <stdexcept>
#include <string>

#include "bindings.h"
#include "mnistcnn/common/cores.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/engine.h"
#include "mnistcnn/engine/lanes/kernels/isa.h"
#include "mnistcnn/engine/lanes/runtime/peak.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

using engine::Engine;

// Return the fields of StepProfile as a dictionary. operations: a list of dictionaries; overheads: {name: seconds}.
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
  py::dict overheads;
  for (const engine::OverheadTime& each : profile.overheads) overheads[py::str(each.name)] = each.seconds;
  py::dict record;
  record["instruction_set"] = profile.instruction_set;
  record["threads"] = profile.threads;
  record["steps"] = profile.steps;
  record["seconds"] = profile.seconds;
  record["operations"] = operations;
  record["overheads"] = overheads;
  return record;
}

// Return a list of steps; a step is a list of tuples (phase, task, seconds).
py::list stop_task_times(Engine& engine) {
  py::list steps;
  for (const engine::StepTasks& tasks : engine.stop_task_times()) {
    py::list step;
    for (const engine::TaskTime& each : tasks) step.append(py::make_tuple(each.phase, each.task, each.seconds));
    steps.append(step);
  }
  return steps;
}

std::int64_t memory_bytes_of_step(const Engine& engine, std::int64_t images) {
  constexpr std::int64_t kMaxImages = (std::int64_t{1} << 31) - 1;
  if (images < 1 || images > kMaxImages)
    throw std::invalid_argument(common::text("images must be between 1 and ", kMaxImages, ", got ", images));
  return engine.memory_bytes_of_step(images);
}

// Return a function that calls `measure` with the kernels of an instruction set, given by its name.
template <class... Arguments>
auto with_kernels(double (*measure)(const engine::lanes::KernelTable&, Arguments...)) {
  return [measure](const std::string& instruction_set, Arguments... arguments) {
    const NativeCall no_gil;
    return measure(engine::lanes::kernels(instruction_set), arguments...);
  };
}

}  // namespace

void bind_profile(py::module_& module) {
  module.def("start_profile", [](Engine& engine) { engine.start_profile(); }, py::arg("engine"));
  module.def("stop_profile", &stop_profile, py::arg("engine"));
  module.def("start_task_times", [](Engine& engine) { engine.start_task_times(); }, py::arg("engine"));
  module.def("stop_task_times", &stop_task_times, py::arg("engine"));
  module.def("instruction_sets", &engine::lanes::instruction_set_names);
  module.def("available_cores", &common::available_cores);
  module.def("peak_flops", with_kernels(&engine::lanes::peak_flops), py::arg("instruction_set"), py::kw_only(),
             py::arg("threads"), py::arg("seconds"));
  module.def("run_multiply_adds", with_kernels(&engine::lanes::run_multiply_adds), py::arg("instruction_set"),
             py::kw_only(), py::arg("threads"), py::arg("runs"));
  module.def("phase_seconds", with_kernels(&engine::lanes::phase_seconds), py::arg("instruction_set"), py::kw_only(),
             py::arg("threads"), py::arg("seconds"));
  module.def("read_bandwidth", with_kernels(&engine::lanes::read_bandwidth), py::arg("instruction_set"), py::kw_only(),
             py::arg("threads"), py::arg("size"), py::arg("seconds"));
  module.def("memory_bytes_of_step", &memory_bytes_of_step, py::arg("engine"), py::arg("images"));
}

}  // namespace mnistcnn::bindings
