#pragma once
#include <functional>

#include "bindings.h"
#include "native_calls.h"

namespace mnistcnn::bindings {

// Return a function that the core may call without holding the GIL. It acquires the GIL, raises KeyboardInterrupt after
// Ctrl-C and SystemExit when the interpreter exits, and calls callback(*convert(arguments...)) unless `callback` is
// None. `callback` must outlive the function.
template <class... Arguments>
std::function<void(Arguments...)> with_gil(const py::object& callback, auto convert) {
  return [&callback, convert](Arguments... arguments) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    raise_at_exit();
    if (!callback.is_none()) callback(*convert(arguments...));
  };
}

// Progress callback with the number of processed images.
inline std::function<void(std::int64_t)> images_with_gil(const py::object& callback) {
  return with_gil<std::int64_t>(callback, [](std::int64_t images_done) { return py::make_tuple(images_done); });
}

}  // namespace mnistcnn::bindings
