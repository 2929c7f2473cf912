#include <ATen/ops/from_blob.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/augmentation/augment.h"
#include "mnistcnn/data/batch_stream.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

using namespace data::augmentation;  // NOLINT: the names of the steps
using common::text;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Indices = py::array_t<std::int64_t, py::array::c_style>;

// ---- fields of the steps, validated by the Python classes

void read(const py::handle& value, Range& range) {
  std::tie(range.low, range.high) = value.cast<std::pair<double, double>>();
}
void read(const py::handle& value, PlaneSize& plane_size) {
  std::tie(plane_size.height, plane_size.width) = value.cast<std::pair<std::int64_t, std::int64_t>>();
}
void read(const py::handle& value, Padding& padding) {
  std::tie(padding.left, padding.top, padding.right, padding.bottom) =
      value.cast<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>>();
}
void read(const py::handle& value, std::optional<Point>& point) {
  const auto [x, y] = value.cast<std::pair<double, double>>();
  point = Point{x, y};
}
void read(const py::handle& value, Interpolation& interpolation) {
  const auto name = value.cast<std::string>();
  if (name != "nearest" && name != "bilinear")
    throw std::invalid_argument(text("interpolation must be 'nearest' or 'bilinear', got '", name, "'"));
  interpolation = name == "nearest" ? Interpolation::kNearest : Interpolation::kBilinear;
}
void read(const py::handle& value, std::uint8_t& byte) { byte = static_cast<std::uint8_t>(value.cast<int>()); }
void read(const py::handle& value, auto& field) { field = value.cast<std::decay_t<decltype(field)>>(); }

// Return a step with these fields. Missing fields keep their defaults.
template <class Kind>
Step read_step(Kind step, const py::dict& fields) {
  std::size_t known = 0;
  step.visit(step, [&](const char* name, auto& value) {
    if (!fields.contains(name)) return;
    read(fields[name], value);
    ++known;
  });
  if (known != fields.size()) throw std::invalid_argument(text(step.kName, " has unknown fields"));
  return step;
}

template <std::size_t index = 0>
Step read_step(const std::string& name, const py::dict& fields) {
  if constexpr (index == std::variant_size_v<Step>) {
    throw std::invalid_argument(text("unknown augmentation step '", name, "'"));
  } else {
    using Kind = std::variant_alternative_t<index, Step>;
    return name == Kind::kName ? read_step(Kind{}, fields) : read_step<index + 1>(name, fields);
  }
}

Augmentation make_augmentation(const std::vector<std::pair<std::string, py::dict>>& steps) {
  Augmentation augmentation;
  for (const auto& [name, fields] : steps) augmentation.steps.push_back(read_step(name, fields));
  return augmentation;
}

// ---- augment images

using SizeTuple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

Size read_size(const SizeTuple& shape) { return {std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)}; }

Size size_of_images(const Bytes& images) {
  if (images.ndim() != 4)
    throw std::invalid_argument(text("images must be [N, C, H, W], got ", images.ndim(), " dimensions"));
  return {images.shape(1), images.shape(2), images.shape(3)};
}

Bytes run(const Augmentation& augmentation, const Bytes& images, const Indices& indices, std::uint64_t seed,
          std::uint64_t epoch, int threads) {
  const AugmentationPlan plan(augmentation.steps, size_of_images(images));
  const Size size = plan.output();
  // A copy, because another thread could change the array after the check.
  const std::vector<std::int64_t> checked(indices.data(), indices.data() + indices.size());
  for (const std::int64_t index : checked)
    if (index < 0 || index >= images.shape(0))
      throw std::out_of_range(text("index ", index, " is out of range for ", images.shape(0), " images"));
  Bytes result({indices.size(), size.channels, size.height, size.width});
  {
    const std::uint8_t* const from = images.data();
    std::uint8_t* const to = result.mutable_data();
    const NativeCall no_gil;
    augment(plan, from, checked, {seed, epoch, threads}, to);
  }
  return result;
}

// Return a tuple (name, applied, drawn parameters) for each step.
py::list sample_parameters(const Augmentation& augmentation, const SizeTuple& shape, std::uint64_t seed,
                           std::uint64_t epoch, std::int64_t index) {
  const AugmentationPlan plan(augmentation.steps, read_size(shape));
  const std::vector<DrawnStep> all = plan.draw_all({seed, epoch, index});
  py::list result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    py::dict numbers;
    const auto list = [&](const auto& step) {
      for (std::size_t n = 0; n < step.kDrawn.size(); ++n)
        numbers[py::str(std::string(step.kDrawn[n]))] = all[i].numbers[n];
    };
    if (all[i].applied) std::visit(list, plan.steps()[i]);
    result.append(py::make_tuple(std::string(name(plan.steps()[i])), all[i].applied, numbers));
  }
  return result;
}

SizeTuple output_shape(const Augmentation& augmentation, const SizeTuple& shape) {
  const Size size = AugmentationPlan(augmentation.steps, read_size(shape)).output();
  return {size.channels, size.height, size.width};
}

// ---- batches prepared by a background thread

// Iterator over the batches of an epoch. Keeps the arrays alive.
class Loader {
 public:
  Loader(const Bytes& images, const Indices& labels, const Augmentation& augmentation, data::StreamOptions options)
      : images_(images),
        labels_(labels),
        raw_(options.raw),
        stream_({{images.data(), static_cast<std::size_t>(images.size())},
                 {labels.data(), static_cast<std::size_t>(labels.size())}},
                AugmentationPlan(augmentation.steps, size_of_images(images)), std::move(options)) {}

  std::int64_t batches() const { return stream_.batches(); }

  // Return (images, labels). Ctrl-C raises KeyboardInterrupt while it waits.
  py::object next() {
    if (in_use_)
      throw std::invalid_argument(
          "another thread waits for a batch of this iterator; create one per thread: iter(loader)");
    const InUse in_use(in_use_);
    std::optional<data::Batch> batch;
    while (!is_ready())
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    {
      const NativeCall no_gil;
      batch = stream_.next();
    }
    if (!batch) throw py::stop_iteration();
    const Size size = stream_.image_size();
    const at::Tensor labels = as_tensor(std::move(batch->labels), {batch->count}, at::kLong);
    return py::make_tuple(as_tensor(std::move(batch->images), {batch->count, size.channels, size.height, size.width},
                                    raw_ ? at::kByte : at::kFloat),
                          labels);
  }

 private:
  // Sets a flag while it exists. The flag is only accessed with the GIL.
  class InUse {
   public:
    explicit InUse(bool& flag) : flag_(flag) { flag_ = true; }
    ~InUse() { flag_ = false; }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

   private:
    bool& flag_;
  };

  bool is_ready() {
    const NativeCall no_gil;
    return stream_.ready(std::chrono::milliseconds(50));
  }

  // Wrap the memory in a tensor, which takes ownership.
  template <class Element>
  static at::Tensor as_tensor(std::unique_ptr<Element[]> memory, at::IntArrayRef shape, at::ScalarType type) {
    Element* const data = memory.release();
    return at::from_blob(data, shape, [data](void*) { delete[] data; }, type);
  }

  Bytes images_;
  Indices labels_;
  bool raw_;
  bool in_use_ = false;  // whether a thread is in `next`
  data::BatchStream stream_;
};

std::unique_ptr<Loader> make_loader(const Bytes& images, const Indices& labels, const Augmentation& augmentation,
                                    std::vector<float> scale, std::vector<float> shift, std::int64_t batch_size,
                                    std::uint64_t seed, std::uint64_t epoch, bool shuffle, bool drop_last, bool raw,
                                    int prefetch) {
  data::StreamOptions options{batch_size,       seed,    epoch, shuffle, drop_last, raw, std::move(scale),
                              std::move(shift), prefetch};
  if (batch_size < 1) throw std::invalid_argument(text("batch_size must be at least 1, got ", batch_size));
  if (prefetch < 0) throw std::invalid_argument(text("prefetch must be at least 0, got ", prefetch));
  const auto channels = static_cast<std::size_t>(size_of_images(images).channels);
  if (images.shape(0) != labels.size() || options.scale.size() != channels || options.shift.size() != channels)
    throw std::invalid_argument(text("there must be one label per image, and one scale and one shift per channel, got ",
                                     labels.size(), " labels for ", images.shape(0), " images, and ",
                                     options.scale.size(), " scales and ", options.shift.size(), " shifts for ",
                                     channels, " channels"));
  return std::make_unique<Loader>(images, labels, augmentation, std::move(options));
}

}  // namespace

void bind_augmentation(py::module_& module) {
  py::class_<Augmentation>(module, "Augmentation")
      .def(py::init(&make_augmentation), py::arg("steps"))
      .def("output_shape", &output_shape, py::arg("shape"))
      .def("run", &run, py::arg("images"), py::arg("indices"), py::kw_only(), py::arg("seed"), py::arg("epoch"),
           py::arg("threads"))
      .def("sample_parameters", &sample_parameters, py::arg("shape"), py::kw_only(), py::arg("seed"), py::arg("epoch"),
           py::arg("index"));
  py::class_<Loader>(module, "Loader")
      .def(py::init(&make_loader), py::arg("images"), py::arg("labels"), py::arg("augmentation"), py::kw_only(),
           py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("seed"), py::arg("epoch"),
           py::arg("shuffle"), py::arg("drop_last"), py::arg("raw"), py::arg("prefetch"))
      .def("__iter__", [](py::object self) { return self; })
      .def("__len__", &Loader::batches)
      .def("__next__", &Loader::next);
}

}  // namespace mnistcnn::bindings
