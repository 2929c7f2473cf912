#pragma once
#include "bindings.h"

// Native calls that run without the GIL, and their end when the interpreter exits. A thread that requests the GIL after
// the interpreter has begun to finalize is ended by Python in the middle of C++ code, which aborts the process.
namespace mnistcnn::bindings {

// Releases the GIL for a native call, until it is destroyed. Once the interpreter exits, raise SystemExit instead on
// all threads but the main thread.
class NativeCall {
 public:
  NativeCall();
  ~NativeCall();
  NativeCall(const NativeCall&) = delete;
  NativeCall& operator=(const NativeCall&) = delete;

 private:
  PyThreadState* state_;
};

// Raise SystemExit if the interpreter exits and this is not the main thread. Requires the GIL.
void raise_at_exit();

}  // namespace mnistcnn::bindings
