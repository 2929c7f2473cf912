#include <atomic>
#include <chrono>
#include <thread>

#include "bindings.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

using Clock = std::chrono::steady_clock;

// Time for a thread between two native calls to start the next one.
constexpr std::chrono::milliseconds kBetweenCalls{50};

// Written with the GIL held.
std::atomic<int> calls_in_progress{0};
bool exiting = false, called_by_other_thread = false;
std::thread::id main_thread;

// Make all other threads raise SystemExit in their next callback or native call, and wait until no native call is in
// progress, but at most `seconds`: a callback may wait for something that does not happen any more.
void end_native_calls(double seconds) {
  exiting = true;
  main_thread = std::this_thread::get_id();
  if (!called_by_other_thread) return;
  const py::gil_scoped_release no_gil;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (auto idle_since = Clock::now(); Clock::now() - idle_since < kBetweenCalls && Clock::now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (calls_in_progress > 0) idle_since = Clock::now();
  }
}

}  // namespace

void raise_at_exit() {
  if (!exiting || std::this_thread::get_id() == main_thread) return;
  PyErr_SetNone(PyExc_SystemExit);
  throw py::error_already_set();
}

NativeCall::NativeCall() {
  raise_at_exit();
  if (std::this_thread::get_id() != main_thread) called_by_other_thread = true;
  ++calls_in_progress;
  state_ = PyEval_SaveThread();
}

NativeCall::~NativeCall() {
  PyEval_RestoreThread(state_);
  --calls_in_progress;
}

void bind_exit(py::module_& module) {
  main_thread = std::this_thread::get_id();  // if another thread imports the module, the exit waits needlessly
  module.def("end_native_calls", &end_native_calls, py::kw_only(), py::arg("seconds"));
  // After fork() the child has only the thread that called it.
  module.def("forget_native_calls", [] { calls_in_progress = 0; });
}

}  // namespace mnistcnn::bindings
