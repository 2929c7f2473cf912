#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/make_engine.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/epoch.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using engine::Engine;
using engine::Keep;
using engine::Mode;
using network::Model;

template <class Element>
std::span<const Element> elements(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<Element>(), static_cast<std::size_t>(tensor.numel())};
}

void check_images(const Model& model, const at::Tensor& images) {
  const at::IntArrayRef expected(model.graph.input_shape);
  if (images.scalar_type() != at::kByte || !images.is_cpu() || !images.is_contiguous() || images.dim() != 4 ||
      images.sizes().slice(1) != expected)
    throw std::invalid_argument(text("images must be contiguous uint8 [N, ", expected[0], ", ", expected[1], ", ",
                                     expected[2], "] on the CPU; got ", images.toString(), " ",
                                     common::bracketed(images.sizes())));
}

void check_labels(const at::Tensor& labels, std::int64_t count, std::int64_t classes) {
  if (labels.scalar_type() != at::kLong || !labels.is_cpu() || !labels.is_contiguous() || labels.dim() != 1 ||
      labels.numel() != count)
    throw std::invalid_argument(text("labels must be contiguous int64 [", count, "] on the CPU; got ",
                                     labels.toString(), " ", common::bracketed(labels.sizes())));
  const std::span<const std::int64_t> values = elements<std::int64_t>(labels);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0 || values[i] >= classes)
      throw std::invalid_argument(
          text("label ", values[i], " of image ", i, " is out of range for a network with ", classes, " outputs"));
}

std::int64_t output_count(const Model& model) {
  const network::Shape& shape = model.analysis.nodes.back().output_shape;
  if (shape.size() != 1)
    throw std::invalid_argument(text("the network's output ", common::bracketed(shape),
                                     " is not a flat row of classes; end it with Flatten()"));
  return shape[0];
}

train::InputScaling scaling_of(const Model& model, std::vector<float> scale, std::vector<float> shift) {
  const auto channels = static_cast<std::size_t>(model.graph.input_shape[0]);
  if (scale.size() != channels || shift.size() != channels)
    throw std::invalid_argument(text("the input's normalisation needs ", channels, " numbers, one per channel"));
  return {std::move(scale), std::move(shift)};
}

// Lets Ctrl-C and the user's callback through; called without the GIL.
template <class... Arguments>
std::function<void(Arguments...)> with_gil(const py::object& callback, auto convert) {
  return [&callback, convert](Arguments... arguments) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!callback.is_none()) callback(convert(arguments...));
  };
}

py::dict run_epoch(Model& model, Engine& engine, train::Sgd& optimizer, const at::Tensor& images,
                   const at::Tensor& labels, std::vector<float> scale, std::vector<float> shift,
                   const train::EpochOptions& options, const py::object& on_progress) {
  check_images(model, images);
  check_labels(labels, images.size(0), output_count(model));
  if (options.batch_size < 1)
    throw std::invalid_argument(text("batch_size=", options.batch_size, " must be at least 1"));
  const train::InputScaling scaling = scaling_of(model, std::move(scale), std::move(shift));
  const auto report = with_gil<const train::Progress&>(on_progress, [](const train::Progress& progress) {
    return py::make_tuple(progress.images, progress.total, progress.loss_sum, progress.correct);
  });
  train::EpochResult result;
  {
    const py::gil_scoped_release no_gil;
    result =
        train::train_epoch(model, engine, optimizer, {elements<std::uint8_t>(images), elements<std::int64_t>(labels)},
                           scaling, options, report);
  }
  py::dict record;
  record["loss_sum"] = result.loss_sum;
  record["correct"] = result.correct;
  record["count"] = result.count;
  record["seconds"] = result.seconds;
  record["step_losses"] =
      py::array_t<float>(static_cast<py::ssize_t>(result.step_losses.size()), result.step_losses.data());
  return record;
}

at::Tensor run_predict(Model& model, Engine& engine, const at::Tensor& images, std::vector<float> scale,
                       std::vector<float> shift, std::int64_t batch_size, const py::object& on_progress) {
  check_images(model, images);
  if (batch_size < 1) throw std::invalid_argument(text("batch_size=", batch_size, " must be at least 1"));
  const train::InputScaling scaling = scaling_of(model, std::move(scale), std::move(shift));
  const std::int64_t outputs = network::element_count(model.analysis.nodes.back().output_shape);
  const auto report = with_gil<std::int64_t>(on_progress, [](std::int64_t images_done) { return images_done; });
  const py::gil_scoped_release no_gil;
  return train::predict(engine, outputs, elements<std::uint8_t>(images), images.size(0), scaling, batch_size, report);
}

py::dict run_score(const at::Tensor& outputs, const at::Tensor& labels, bool normalised) {
  check_labels(labels, outputs.size(0), outputs.size(1));
  const metrics::Scores scores = metrics::score(elements<float>(outputs), elements<std::int64_t>(labels), normalised);
  const py::ssize_t classes = outputs.size(1);
  py::dict record;
  record["loss_sum"] = scores.loss_sum;
  record["correct"] = scores.correct;
  record["predictions"] =
      py::array_t<std::int64_t>(static_cast<py::ssize_t>(scores.predictions.size()), scores.predictions.data());
  record["confusion"] = py::array_t<std::int64_t>({classes, classes}, scores.confusion.data());
  return record;
}

engine::Loss read_loss(const std::string& kind, double label_smoothing) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw std::invalid_argument(text("label_smoothing=", label_smoothing, " must lie between 0 and 1"));
  if (kind == "nll") return {engine::LossKind::kNegativeLogLikelihood, label_smoothing};
  if (kind == "cross_entropy") return {engine::LossKind::kCrossEntropy, label_smoothing};
  throw std::invalid_argument(text("there is no loss '", kind, "'"));
}

std::vector<train::Range> read_ranges(const std::vector<std::pair<std::int64_t, std::int64_t>>& pairs) {
  std::vector<train::Range> ranges;
  for (const auto& [begin, end] : pairs) ranges.push_back({begin, end});
  return ranges;
}

train::Sgd make_sgd(const Model& model, double momentum, double dampening, double weight_decay, bool nesterov,
                    const std::vector<std::pair<std::int64_t, std::int64_t>>& trainable) {
  return {{momentum, dampening, weight_decay, nesterov}, read_ranges(trainable), model.parameters.values};
}

void bind_engine(py::module_& module) {
  module.def("lanes_refusal", &engine::lanes_refusal, py::arg("network"));
  py::class_<Engine>(module, "Engine")
      .def(py::init(&engine::make_engine), py::arg("network"), py::arg("kind"), py::arg("threads"),
           py::keep_alive<1, 2>())
      .def_property_readonly("name", &Engine::name)
      .def_property_readonly("memory_bytes", &Engine::memory_bytes)
      .def(
          "forward",
          [](Engine& engine, const at::Tensor& images, bool training, std::uint64_t seed, bool keep, bool keep_images) {
            const py::gil_scoped_release no_gil;
            const Keep kept = keep_images ? Keep::kForParametersAndImages
                              : keep      ? Keep::kForParameters
                                          : Keep::kNothing;
            return engine.forward(images, training ? Mode::kTrain : Mode::kEvaluate, {seed, 0}, kept);
          },
          py::arg("images"), py::kw_only(), py::arg("training"), py::arg("seed"), py::arg("keep"),
          py::arg("keep_images"))
      .def(
          "backward",
          [](Engine& engine, const at::Tensor& output_gradients) {
            const py::gil_scoped_release no_gil;
            return engine.backward(output_gradients);
          },
          py::arg("output_gradients"));
}

void bind_optimizer(py::module_& module) {
  py::class_<train::Sgd>(module, "Sgd")
      .def(py::init(&make_sgd), py::arg("network"), py::kw_only(), py::arg("momentum"), py::arg("dampening"),
           py::arg("weight_decay"), py::arg("nesterov"), py::arg("trainable"))
      .def(
          "set_trainable",
          [](train::Sgd& optimizer, const std::vector<std::pair<std::int64_t, std::int64_t>>& trainable) {
            optimizer.set_trainable(read_ranges(trainable));
          },
          py::arg("trainable"));
}

}  // namespace

void bind_train(py::module_& module) {
  bind_engine(module);
  bind_optimizer(module);
  module.def(
      "train_epoch",
      [](Model& model, Engine& engine, train::Sgd& optimizer, const at::Tensor& images, const at::Tensor& labels,
         std::vector<float> scale, std::vector<float> shift, std::int64_t batch_size, std::uint64_t seed,
         std::uint64_t epoch, std::uint64_t first_step, bool shuffle, double learning_rate, const std::string& loss,
         double label_smoothing, const py::object& on_progress) {
        const train::EpochOptions options{
            batch_size, seed, epoch, first_step, shuffle, learning_rate, read_loss(loss, label_smoothing)};
        return run_epoch(model, engine, optimizer, images, labels, std::move(scale), std::move(shift), options,
                         on_progress);
      },
      py::arg("network"), py::arg("engine"), py::arg("optimizer"), py::arg("images"), py::arg("labels"), py::kw_only(),
      py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("seed"), py::arg("epoch"),
      py::arg("first_step"), py::arg("shuffle"), py::arg("learning_rate"), py::arg("loss"), py::arg("label_smoothing"),
      py::arg("on_progress"));
  module.def("predict", &run_predict, py::arg("network"), py::arg("engine"), py::arg("images"), py::kw_only(),
             py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("on_progress"));
  module.def("score", &run_score, py::arg("outputs"), py::arg("labels"), py::kw_only(), py::arg("normalised"));
}

}  // namespace mnistcnn::bindings
