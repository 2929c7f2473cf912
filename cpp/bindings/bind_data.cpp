#include <stdexcept>
#include <utility>
#include <variant>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/idx.h"
#include "mnistcnn/data/synthetic_digits.h"

namespace mnistcnn::bindings {
namespace {

// The array takes over the vector: nothing is copied.
template <class Element>
py::array to_array(std::vector<Element>&& values, const std::vector<std::int64_t>& shape) {
  auto* const owned = new std::vector<Element>(std::move(values));
  const py::capsule owner(owned, [](void* pointer) { delete static_cast<std::vector<Element>*>(pointer); });
  return py::array_t<Element>(shape, owned->data(), owner);
}

py::array read_idx(const std::string& path) {
  data::IdxArray array = [&] {
    const py::gil_scoped_release no_gil;
    return data::read_idx(path);
  }();
  return std::visit([&](auto& values) { return to_array(std::move(values), array.shape); }, array.values);
}

py::tuple draw_digits(std::int64_t count, std::uint64_t seed, std::uint64_t first_index, int threads) {
  if (count < 0) throw std::invalid_argument(common::text("count=", count, " must not be negative"));
  constexpr std::int64_t side = data::kDigitSide;
  py::array_t<std::uint8_t> images({count, std::int64_t{1}, side, side});
  py::array_t<std::int64_t> labels(count);
  const std::span<std::uint8_t> pixels(images.mutable_data(), static_cast<std::size_t>(images.size()));
  const std::span<std::int64_t> classes(labels.mutable_data(), static_cast<std::size_t>(count));
  {
    const py::gil_scoped_release no_gil;
    data::draw_digits(pixels, classes, {seed, first_index, threads});
  }
  return py::make_tuple(std::move(images), std::move(labels));
}

}  // namespace

void bind_data(py::module_& module) {
  module.def("read_idx", &read_idx, py::arg("path"));
  module.def("draw_digits", &draw_digits, py::arg("count"), py::kw_only(), py::arg("seed"), py::arg("first_index"),
             py::arg("threads"));
}

}  // namespace mnistcnn::bindings
