#include <torch/csrc/autograd/python_variable.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::bindings {
namespace {

// What one entry of a guard compares.
//   is, equal   owner[key] with `expected`, by identity or by value
//   empty       owner[key] is a container without elements
//   absent      owner has no such key
//   size        the number of keys of owner with `expected`
//   mode        owner[key] with the mode that is asked for
//   type        the type of owner with `expected`
//   attribute   getattr(owner, key) with `expected`, by identity
//   float       owner[key] is a float32 tensor, of no subclass but Parameter
enum class Check { kIs, kEqual, kEmpty, kAbsent, kSize, kMode, kType, kAttribute, kFloat };

Check read_check(const std::string& name) {
  constexpr const char* kNames[] = {"is", "equal", "empty", "absent", "size", "mode", "type", "attribute", "float"};
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<Check>(i);
  throw std::invalid_argument(common::text("a guard has no check '", name, "'"));
}

struct Entry {
  Check check;
  py::object owner, key, expected;

  bool holds(PyObject* mode) const {
    switch (check) {
      case Check::kType:
        return reinterpret_cast<PyObject*>(Py_TYPE(owner.ptr())) == expected.ptr();
      case Check::kSize:
        return PyDict_Size(owner.ptr()) == PyLong_AsSsize_t(expected.ptr());
      case Check::kAttribute:
        return py::getattr(owner, key, py::none()).is(expected);
      default:
        break;
    }
    PyObject* const found = PyDict_GetItemWithError(owner.ptr(), key.ptr());  // borrowed
    if (found == nullptr && PyErr_Occurred()) throw py::error_already_set();
    if (check == Check::kAbsent) return found == nullptr;
    if (found == nullptr) return false;
    if (check == Check::kMode) return found == mode;
    if (check == Check::kFloat)
      return THPVariable_CheckExact(found) && THPVariable_Unpack(found).scalar_type() == at::kFloat;
    if (check == Check::kEmpty) return PyObject_Size(found) == 0;
    if (found == expected.ptr() || check == Check::kIs) return found == expected.ptr();
    // A value of another type may compare equal (True and 1) or compare element by element.
    if (Py_TYPE(found) != Py_TYPE(expected.ptr())) return false;
    const int equal = PyObject_RichCompareBool(found, expected.ptr(), Py_EQ);
    if (equal < 0) throw py::error_already_set();
    return equal == 1;
  }
};

// Compares a tree of modules with what it was, in a few microseconds: dozens of look-ups in dictionaries.
class Guard {
 public:
  explicit Guard(const std::vector<std::tuple<std::string, py::object, py::object, py::object>>& entries) {
    for (const auto& [check, owner, key, expected] : entries)
      entries_.push_back({read_check(check), owner, key, expected});
  }

  // The position of the first entry that does not hold, -1: none.
  int first_violation(bool training) const {
    PyObject* const mode = training ? Py_True : Py_False;
    for (std::size_t i = 0; i < entries_.size(); ++i)
      if (!entries_[i].holds(mode)) return static_cast<int>(i);
    return -1;
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace

void bind_guard(py::module_& module) {
  py::class_<Guard>(module, "Guard")
      .def(py::init<const std::vector<std::tuple<std::string, py::object, py::object, py::object>>&>(),
           py::arg("entries"))
      .def("first_violation", &Guard::first_violation, py::kw_only(), py::arg("training"));
}

}  // namespace mnistcnn::bindings
