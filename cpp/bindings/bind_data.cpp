#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <variant>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/idx.h"
#include "mnistcnn/data/synthetic_digits.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

// Convert a vector to an array without a copy. The array takes ownership.
template <class Element>
py::array to_array(std::vector<Element>&& values, const std::vector<std::int64_t>& shape) {
  auto* const owned = new std::vector<Element>(std::move(values));
  const py::capsule owner(owned, [](void* pointer) { delete static_cast<std::vector<Element>*>(pointer); });
  return py::array_t<Element>(shape, owned->data(), owner);
}

// Call `read` without the GIL and convert the result.
template <class Read>
py::array idx_array(const Read& read) {
  data::IdxArray array = [&] {
    const NativeCall no_gil;
    return read();
  }();
  return std::visit([&](auto& values) { return to_array(std::move(values), array.shape); }, array.values);
}

py::array read_idx(const std::string& path) {
  return idx_array([&] { return data::read_idx(path); });
}

std::span<const std::uint8_t> span_of(const py::bytes& bytes) {
  const std::string_view view = bytes;
  return {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
}

py::array parse_idx(const py::bytes& content, const std::string& name) {
  const std::span<const std::uint8_t> bytes = span_of(content);
  return idx_array([&] { return data::parse_idx(bytes, name); });
}

std::size_t idx_file_bytes(const py::bytes& start, const std::string& name) {
  return data::idx_file_bytes(span_of(start), name);
}

py::tuple draw_digits(std::int64_t count, std::uint64_t seed, std::uint64_t first_index, int threads) {
  if (count < 0) throw std::invalid_argument(common::text("count must be at least 0, got ", count));
  constexpr std::int64_t side = data::kDigitSide;
  py::array_t<std::uint8_t> images({count, std::int64_t{1}, side, side});
  py::array_t<std::int64_t> labels(count);
  const std::span<std::uint8_t> pixels(images.mutable_data(), static_cast<std::size_t>(images.size()));
  const std::span<std::int64_t> classes(labels.mutable_data(), static_cast<std::size_t>(count));
  {
    const NativeCall no_gil;
    data::draw_digits(pixels, classes, {seed, first_index, threads});
  }
  return py::make_tuple(std::move(images), std::move(labels));
}

}  // namespace

void bind_data(py::module_& module) {
  module.def("read_idx", &read_idx, py::arg("path"));
  module.def("parse_idx", &parse_idx, py::arg("content"), py::kw_only(), py::arg("name"));
  module.def("idx_file_bytes", &idx_file_bytes, py::arg("start"), py::kw_only(), py::arg("name"));
  module.def("draw_digits", &draw_digits, py::arg("count"), py::kw_only(), py::arg("seed"), py::arg("first_index"),
             py::arg("threads"));
}

}  // namespace mnistcnn::bindings
