#pragma once
#include <functional>

#include "bindings.h"

namespace mnistcnn::bindings {

// A function that the core calls without the GIL: it raises KeyboardInterrupt after Ctrl-C, then calls back to Python
// with what `convert` makes of its arguments. The callback, which may be None, must outlive it.
template <class... Arguments>
std::function<void(Arguments...)> with_gil(const py::object& callback, auto convert) {
  return [&callback, convert](Arguments... arguments) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(*convert(arguments...));
  };
}

// The number of images done, for passes over a set.
inline std::function<void(std::int64_t)> images_with_gil(const py::object& callback) {
  return with_gil<std::int64_t>(callback, [](std::int64_t images_done) { return py::make_tuple(images_done); });
}

}  // namespace mnistcnn::bindings
