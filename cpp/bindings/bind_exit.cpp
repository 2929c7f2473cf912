#include <atomic>
#include <chrono>
#include <thread>

#include "bindings.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

// Written with the GIL held.
std::atomic<int> calls_in_progress{0};
bool exiting = false;
std::thread::id main_thread;

// Make all other threads raise SystemExit in their next callback or native call, and wait until no native call is in
// progress, but at most `seconds`: a callback may wait for something that does not happen any more.
void end_native_calls(double seconds) {
  exiting = true;
  main_thread = std::this_thread::get_id();
  const py::gil_scoped_release no_gil;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (calls_in_progress > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

void raise_at_exit() {
  if (!exiting || std::this_thread::get_id() == main_thread) return;
  PyErr_SetNone(PyExc_SystemExit);
  throw py::error_already_set();
}

NativeCall::NativeCall() {
  raise_at_exit();
  ++calls_in_progress;
  state_ = PyEval_SaveThread();
}

NativeCall::~NativeCall() {
  PyEval_RestoreThread(state_);
  --calls_in_progress;
}

void bind_exit(py::module_& module) {
  module.def("end_native_calls", &end_native_calls, py::kw_only(), py::arg("seconds"));
  // After fork() the child has only the thread that called it.
  module.def("forget_native_calls", [] { calls_in_progress = 0; });
}

}  // namespace mnistcnn::bindings
