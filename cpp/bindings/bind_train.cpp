#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/make_engine.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/epoch.h"
#include "mnistcnn/train/optimizer.h"

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
    if (!callback.is_none()) callback(*convert(arguments...));
  };
}

py::dict run_epoch(Model& model, Engine& engine, train::Optimizer& optimizer, const at::Tensor& images,
                   const at::Tensor& labels, std::vector<float> scale, std::vector<float> shift,
                   const engine::Loss& loss, const train::EpochOptions& options, const py::object& on_progress,
                   const py::object& on_step, std::uint64_t on_step_every) {
  check_images(model, images);
  check_labels(labels, images.size(0), output_count(model));
  if (on_step_every < 1) throw std::invalid_argument("on_step_every must be at least 1");
  if (!options.momenta.empty() && !optimizer.has_momentum())
    throw std::invalid_argument("this optimizer has no momentum that could follow a schedule; give it one above 0");
  const train::InputScaling scaling = scaling_of(model, std::move(scale), std::move(shift));
  train::Listeners listeners;
  listeners.on_progress = with_gil<const train::Progress&>(on_progress, [](const train::Progress& progress) {
    return py::make_tuple(py::make_tuple(progress.images, progress.total, progress.loss_sum, progress.correct));
  });
  if (!on_step.is_none())
    listeners.on_step = {with_gil<std::uint64_t, double>(
                             on_step, [](std::uint64_t steps, double mean) { return py::make_tuple(steps, mean); }),
                         on_step_every};
  train::EpochResult result;
  {
    const py::gil_scoped_release no_gil;
    result =
        train::train_epoch(model, engine, optimizer, {elements<std::uint8_t>(images), elements<std::int64_t>(labels)},
                           scaling, loss, options, listeners);
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
  const auto report =
      with_gil<std::int64_t>(on_progress, [](std::int64_t images_done) { return py::make_tuple(images_done); });
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

using RangePairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::vector<train::Range> read_ranges(const RangePairs& pairs) {
  std::vector<train::Range> ranges;
  for (const auto& [begin, end] : pairs) ranges.push_back({begin, end});
  return ranges;
}

// A rule's own fields from `settings`; what is left over, or lacking, is named.
template <class Kind>
train::Rule read_rule(Kind rule, const py::dict& settings, std::size_t& known) {
  rule.visit(rule, [&](const char* name, auto& value) {
    if (!settings.contains(name)) throw std::invalid_argument(text(rule.kKind, " lacks the setting '", name, "'"));
    value = settings[name].template cast<std::decay_t<decltype(value)>>();
    ++known;
  });
  return rule;
}

template <std::size_t... index>
train::Rule read_rule(const std::string& kind, const py::dict& settings, std::size_t& known,
                      std::index_sequence<index...>) {
  std::optional<train::Rule> rule;
  const auto read = [&](const auto& each) {
    if (kind == each.kKind) rule = read_rule(each, settings, known);
  };
  (read(std::variant_alternative_t<index, train::Rule>{}), ...);
  if (!rule) throw std::invalid_argument(text("there is no optimizer '", kind, "'"));
  return *rule;
}

std::unique_ptr<train::Optimizer> make_optimizer(const Model& model, const py::dict& settings,
                                                 const RangePairs& trainable, const RangePairs& undecayed) {
  const train::GradientOptions gradients{settings["l1"].cast<double>(), settings["clip_norm"].cast<double>(),
                                         settings["clip_value"].cast<double>()};
  std::size_t known = 4;
  const auto kinds = std::make_index_sequence<std::variant_size_v<train::Rule>>{};
  const train::Rule rule = read_rule(settings["kind"].cast<std::string>(), settings, known, kinds);
  if (known != settings.size()) throw std::invalid_argument("the optimizer's settings have names it doesn't know");
  return std::make_unique<train::Optimizer>(rule, gradients, train::pieces_of(model.analysis), read_ranges(trainable),
                                            read_ranges(undecayed), model.parameters.values);
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
  py::class_<train::Optimizer>(module, "Optimizer")
      .def(py::init(&make_optimizer), py::arg("network"), py::arg("settings"), py::kw_only(), py::arg("trainable"),
           py::arg("undecayed"))
      .def(
          "set_trainable",
          [](train::Optimizer& optimizer, const RangePairs& trainable) {
            optimizer.set_trainable(read_ranges(trainable));
          },
          py::arg("trainable"))
      .def(
          "step",
          [](train::Optimizer& optimizer, Model& model, double learning_rate, std::optional<double> momentum) {
            const py::gil_scoped_release no_gil;
            optimizer.step(model.parameters.values, model.parameters.gradients, learning_rate, momentum);
          },
          py::arg("network"), py::kw_only(), py::arg("learning_rate"), py::arg("momentum"))
      .def("state", &train::Optimizer::state)
      .def("restore", &train::Optimizer::restore, py::arg("state"));
}

void bind_loss(py::module_& module) {
  py::class_<engine::Loss>(module, "Loss")
      .def(py::init(&read_loss), py::arg("kind"), py::kw_only(), py::arg("label_smoothing"));
}

}  // namespace

void bind_train(py::module_& module) {
  bind_engine(module);
  bind_optimizer(module);
  bind_loss(module);
  module.def(
      "train_epoch",
      [](Model& model, Engine& engine, train::Optimizer& optimizer, const at::Tensor& images, const at::Tensor& labels,
         std::vector<float> scale, std::vector<float> shift, std::int64_t batch_size, std::uint64_t seed,
         std::uint64_t epoch, std::uint64_t first_step, bool shuffle, std::vector<double> learning_rates,
         std::optional<std::vector<double>> momenta, const engine::Loss& loss, const py::none&, const py::none&,
         const py::object& on_progress, const py::object& on_step, std::uint64_t on_step_every) {
        const train::EpochOptions options{batch_size,
                                          seed,
                                          epoch,
                                          first_step,
                                          shuffle,
                                          std::move(learning_rates),
                                          std::move(momenta).value_or(std::vector<double>{})};
        return run_epoch(model, engine, optimizer, images, labels, std::move(scale), std::move(shift), loss, options,
                         on_progress, on_step, on_step_every);
      },
      py::arg("network"), py::arg("engine"), py::arg("optimizer"), py::arg("images"), py::arg("labels"), py::kw_only(),
      py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("seed"), py::arg("epoch"),
      py::arg("first_step"), py::arg("shuffle"), py::arg("learning_rates"), py::arg("momenta") = py::none(),
      py::arg("loss"), py::arg("mixing") = py::none(), py::arg("averaging") = py::none(),
      py::arg("on_progress") = py::none(), py::arg("on_step") = py::none(), py::arg("on_step_every") = 1);
  module.def("predict", &run_predict, py::arg("network"), py::arg("engine"), py::arg("images"), py::kw_only(),
             py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("on_progress"));
  module.def("score", &run_score, py::arg("outputs"), py::arg("labels"), py::kw_only(), py::arg("normalised"));
}

}  // namespace mnistcnn::bindings
