#include <torch/csrc/autograd/python_variable.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::bindings {
namespace {

// The checks of a guard.
//   is               owner[key] is `expected` (identity)
//   equal            owner[key] == `expected`, and both have the same type
//   empty            owner[key] is an empty container
//   absent           owner has no such key, or owner[key] has the type `expected`
//   size             owner has `expected` keys
//   mode             owner[key] is the requested mode (`training`)
//   type             the type of owner is `expected`
//   class attribute  getattr(owner, key) is `expected` (identity)
//   float            owner[key] is a float32 torch.Tensor or Parameter, not another subclass
//   shape            owner[key] is a tensor of the shape `expected`
//   version          owner[key] is a tensor that was changed in place `expected` times
//   tied             owner[key] is expected[0][expected[1]] (identity)
//   distinct         owner is a list of pairs (dictionary, key); all objects dictionary[key] are distinct
enum class Check {
  kIs,
  kEqual,
  kEmpty,
  kAbsent,
  kSize,
  kMode,
  kType,
  kClassAttribute,
  kFloat,
  kShape,
  kVersion,
  kTied,
  kDistinct
};

Check read_check(const std::string& name) {
  constexpr const char* kNames[] = {"is",    "equal", "empty",   "absent", "size",    "mode", "type", "class attribute",
                                    "float", "shape", "version", "tied",   "distinct"};
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<Check>(i);
  throw std::invalid_argument(common::text("unknown guard check '", name, "'"));
}

// Return dictionary[key] or nullptr, a borrowed reference.
PyObject* look_up(PyObject* dictionary, PyObject* key) {
  PyObject* const found = PyDict_GetItemWithError(dictionary, key);
  if (found == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return found;
}

// Whether both are equal and of the same type (True == 1 does not count). Objects that cannot be compared, such as
// tensors, are not equal.
bool equals(PyObject* found, PyObject* expected) {
  if (found == expected) return true;
  if (Py_TYPE(found) != Py_TYPE(expected)) return false;
  const int equal = PyObject_RichCompareBool(found, expected, Py_EQ);
  if (equal < 0) PyErr_Clear();
  return equal == 1;
}

bool is_empty(PyObject* found) {
  const Py_ssize_t size = PyObject_Size(found);
  if (size < 0) PyErr_Clear();  // not a container
  return size == 0;
}

bool has_shape(PyObject* tensor, PyObject* shape) {
  if (!THPVariable_Check(tensor)) return false;
  const auto sizes = THPVariable_Unpack(tensor).sizes();
  if (static_cast<Py_ssize_t>(sizes.size()) != PyTuple_Size(shape)) return false;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (PyLong_AsLongLong(PyTuple_GetItem(shape, static_cast<Py_ssize_t>(i))) != sizes[i]) return false;
  return true;
}

struct GuardEntry {
  Check check;
  py::object owner, key, expected;

  bool holds(PyObject* mode) const {
    switch (check) {
      case Check::kType:
        return reinterpret_cast<PyObject*>(Py_TYPE(owner.ptr())) == expected.ptr();
      case Check::kSize:
        return PyDict_Size(owner.ptr()) == PyLong_AsSsize_t(expected.ptr());
      case Check::kClassAttribute:
        return py::getattr(owner, key, py::none()).is(expected);
      case Check::kDistinct:
        return are_distinct();
      default:
        return holds_for(look_up(owner.ptr(), key.ptr()), mode);
    }
  }

  bool holds_for(PyObject* found, PyObject* mode) const {
    if (check == Check::kAbsent)
      return found == nullptr || reinterpret_cast<PyObject*>(Py_TYPE(found)) == expected.ptr();
    if (found == nullptr) return false;
    switch (check) {
      case Check::kMode:
        return found == mode;
      case Check::kFloat:
        return THPVariable_CheckExact(found) && THPVariable_Unpack(found).scalar_type() == at::kFloat;
      case Check::kEmpty:
        return is_empty(found);
      case Check::kShape:
        return has_shape(found, expected.ptr());
      case Check::kVersion:
        return THPVariable_Check(found) && THPVariable_Unpack(found)._version() == PyLong_AsLongLong(expected.ptr());
      case Check::kTied:
        return found == look_up(PyTuple_GetItem(expected.ptr(), 0), PyTuple_GetItem(expected.ptr(), 1));
      case Check::kEqual:
        return equals(found, expected.ptr());
      default:
        return found == expected.ptr();
    }
  }

  bool are_distinct() const {
    std::vector<const PyObject*> objects;
    for (Py_ssize_t i = 0; i < PyList_Size(owner.ptr()); ++i) {
      PyObject* const entry = PyList_GetItem(owner.ptr(), i);
      const PyObject* const found = look_up(PyTuple_GetItem(entry, 0), PyTuple_GetItem(entry, 1));
      if (found != nullptr) objects.push_back(found);
    }
    std::ranges::sort(objects);
    return std::ranges::adjacent_find(objects) == objects.end();
  }
};

// Detects changes of a module tree since it was converted. Dozens of dictionary lookups take a few microseconds.
class Guard {
 public:
  explicit Guard(const std::vector<std::tuple<std::string, py::object, py::object, py::object>>& entries) {
    for (const auto& [check, owner, key, expected] : entries)
      entries_.push_back({read_check(check), owner, key, expected});
  }

  // Return the index of the first entry that does not hold, or -1 if all hold.
  int first_violation(bool training) const {
    PyObject* const mode = training ? Py_True : Py_False;
    for (std::size_t i = 0; i < entries_.size(); ++i)
      if (!entries_[i].holds(mode)) return static_cast<int>(i);
    return -1;
  }

  // For the garbage collector: visit all Python objects, and release them.
  int traverse(visitproc visit, void* arg) const {
    for (const GuardEntry& entry : entries_) {
      Py_VISIT(entry.owner.ptr());
      Py_VISIT(entry.key.ptr());
      Py_VISIT(entry.expected.ptr());
    }
    return 0;
  }
  void clear() { const std::vector<GuardEntry> released = std::move(entries_); }

 private:
  std::vector<GuardEntry> entries_;
};

// Return the guard of a Python object, or nullptr before its __init__ has finished.
Guard* guard_of(PyObject* self) {
  const auto held = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  return held.holder_constructed() ? held.value_ptr<Guard>() : nullptr;
}

// A converted module refers to its guard, and the guard to the attributes of the module. With these functions, the
// garbage collector finds the cycle.
void support_garbage_collection(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
    Py_VISIT(Py_TYPE(self));
    const Guard* const guard = guard_of(self);
    return guard == nullptr ? 0 : guard->traverse(visit, arg);
  };
  type.tp_clear = [](PyObject* self) -> int {
    if (Guard* const guard = guard_of(self)) guard->clear();
    return 0;
  };
}

}  // namespace

void bind_guard(py::module_& module) {
  py::class_<Guard>(module, "Guard", py::custom_type_setup(&support_garbage_collection))
      .def(py::init<const std::vector<std::tuple<std::string, py::object, py::object, py::object>>&>(),
           py::arg("entries"))
      .def("first_violation", &Guard::first_violation, py::kw_only(), py::arg("training"));
}

}  // namespace mnistcnn::bindings
