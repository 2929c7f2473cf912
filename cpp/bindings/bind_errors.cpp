#include <c10/util/Exception.h>

#include "bindings.h"
#include "mnistcnn/common/error.h"

namespace mnistcnn::bindings {

// pybind11 translates standard exceptions: invalid_argument -> ValueError, out_of_range -> IndexError.
void bind_errors(py::module_& module) {
  py::register_exception<common::DivergedError>(module, "DivergedError", PyExc_ArithmeticError).attr("__doc__") =
      "Raised when the loss or the weights become infinite or NaN during training.";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const common::FileNotFoundError& error) {
      PyErr_SetString(PyExc_FileNotFoundError, error.what());
    } catch (const common::FileError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    } catch (const c10::OutOfMemoryError& error) {
      PyErr_SetString(py::module_::import("torch").attr("OutOfMemoryError").ptr(), error.what_without_backtrace());
    } catch (const c10::Error& error) {  // without the C++ backtrace
      PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace());
    }
  });
}

}  // namespace mnistcnn::bindings
