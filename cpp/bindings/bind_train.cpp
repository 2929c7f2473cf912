#include <ATen/ops/empty_like.h>

#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/make_engine.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/epoch.h"
#include "mnistcnn/train/statistics.h"
#include "tensors.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using data::augmentation::Augmentation;
using data::augmentation::Plan;
using engine::Engine;
using engine::Keep;
using engine::Mode;
using network::Network;

template <class Element>
std::span<const Element> elements(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<Element>(), static_cast<std::size_t>(tensor.numel())};
}

void check_images(const Network& network, const at::Tensor& images) {
  const at::IntArrayRef expected(network.graph.input_shape);
  if (images.scalar_type() != at::kByte || !images.is_cpu() || !images.is_contiguous() || images.dim() != 4 ||
      images.sizes().slice(1) != expected)
    throw std::invalid_argument(text("images must be contiguous uint8 [N, ", expected[0], ", ", expected[1], ", ",
                                     expected[2], "] on the CPU; got ", images.toString(), " ",
                                     common::bracketed(images.sizes())));
}

// An augmentation made ready for the images of a set; it must end with those the model takes.
std::optional<Plan> plan_for(const Network& network, const at::Tensor& images, const Augmentation* augmentation) {
  if (augmentation == nullptr) return std::nullopt;
  if (images.scalar_type() != at::kByte || !images.is_cpu() || !images.is_contiguous() || images.dim() != 4)
    throw std::invalid_argument("images must be contiguous uint8 [N, C, H, W] on the CPU");
  Plan plan(augmentation->steps, {images.size(1), images.size(2), images.size(3)});
  const auto [channels, height, width] = plan.output();
  const network::Shape found{channels, height, width};
  if (found != network.graph.input_shape)
    throw std::invalid_argument(text("the augmentation makes images of shape ", common::bracketed(found), " of ",
                                     common::bracketed(images.sizes().slice(1)), ", but the model takes ",
                                     common::bracketed(network.graph.input_shape)));
  return plan;
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

std::int64_t output_count(const Network& network) {
  const network::Shape& shape = network.analysis.nodes.back().output_shape;
  if (shape.size() != 1)
    throw std::invalid_argument(text("the network's output ", common::bracketed(shape),
                                     " is not a flat row of classes; end it with Flatten()"));
  return shape[0];
}

train::InputScaling scaling_of(const Network& network, std::vector<float> scale, std::vector<float> shift) {
  const auto channels = static_cast<std::size_t>(network.graph.input_shape[0]);
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

// The function is kept alive by the list that it is in, and the list by the loss.
train::Teacher read_teacher(const py::handle& item) {
  auto [engine, function, scale, shift, gives_probabilities] =
      item.cast<std::tuple<Engine*, py::handle, std::vector<float>, std::vector<float>, bool>>();
  const train::TensorSource source = [engine, function] {
    const py::gil_scoped_acquire gil;
    return read_tensors(engine->network(), function());
  };
  return {engine, source, std::move(scale), std::move(shift), gives_probabilities};
}

train::Loss read_loss(const std::string& kind, double label_smoothing, std::vector<double> class_weights,
                      const py::list& teachers, double temperature, double teachers_weight) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw std::invalid_argument(text("label_smoothing=", label_smoothing, " must lie between 0 and 1"));
  if (kind != "nll" && kind != "cross_entropy") throw std::invalid_argument(text("there is no loss '", kind, "'"));
  train::Loss loss;
  loss.plain = {kind == "nll" ? engine::LossKind::kNegativeLogLikelihood : engine::LossKind::kCrossEntropy,
                label_smoothing};
  loss.class_weights = std::move(class_weights);
  loss.distillation.temperature = temperature;
  loss.distillation.weight = teachers_weight;
  for (const py::handle& item : teachers) loss.distillation.teachers.push_back(read_teacher(item));
  return loss;
}

void check_loss(const train::Loss& loss, std::int64_t classes) {
  if (!loss.class_weights.empty() && static_cast<std::int64_t>(loss.class_weights.size()) != classes)
    throw std::invalid_argument(
        text("there are ", loss.class_weights.size(), " class weights for a network with ", classes, " outputs"));
}

train::Mixing read_mixing(const std::string& kind, double alpha) {
  if (kind != "mixup" && kind != "cutmix") throw std::invalid_argument(text("there is no mixing '", kind, "'"));
  if (!(alpha > 0)) throw std::invalid_argument(text("alpha=", alpha, " must be above 0"));
  return {kind == "mixup" ? train::Mixing::Kind::kMixup : train::Mixing::Kind::kCutMix, alpha};
}

// A batch's loss and gradients, as a step computes them.
py::tuple run_loss(const train::Loss& loss, const at::Tensor& outputs, const at::Tensor& labels,
                   const std::optional<at::Tensor>& partners, double share, const std::optional<at::Tensor>& images,
                   const std::vector<float>& scale, const std::vector<float>& shift) {
  check_labels(labels, outputs.size(0), outputs.size(1));
  check_loss(loss, outputs.size(1));
  train::Targets targets{.labels = elements<std::int64_t>(labels)};
  if (partners) {
    check_labels(*partners, outputs.size(0), outputs.size(1));
    targets.partners = elements<std::int64_t>(*partners);
    targets.share = share;
  }
  at::Tensor opinion;
  if (images && !loss.distillation.teachers.empty()) {
    opinion = train::opinions(loss.distillation, train::tensors_of_teachers(loss.distillation), *images, scale, shift);
    targets.opinions = elements<float>(opinion);
  }
  at::Tensor gradients = at::empty_like(outputs);
  const std::span<float> target(gradients.mutable_data_ptr<float>(), static_cast<std::size_t>(gradients.numel()));
  const engine::StepResult result = train::evaluate(loss, elements<float>(outputs), targets, target);
  return py::make_tuple(result.loss_sum, result.correct, gradients);
}

py::dict mixing_plan(const train::Mixing& mixing, std::uint64_t seed, std::uint64_t step, std::int64_t count,
                     std::int64_t height, std::int64_t width) {
  const train::MixingPlan plan = train::draw(mixing, seed, step, count, height, width);
  py::dict record;
  record["share"] = plan.share;
  record["partners"] = plan.partners;
  record["box"] = py::make_tuple(plan.box.top, plan.box.left, plan.box.bottom, plan.box.right);
  return record;
}

train::AveragingRule read_averaging(const py::dict& settings) {
  const auto kind = settings["kind"].cast<std::string>();
  const auto whole = [&](const char* name) { return settings[name].cast<std::int64_t>(); };
  if (kind == "EMA")
    return train::Ema{settings["decay"].cast<double>(), whole("every"), settings["warm_up"].cast<bool>(),
                      settings["buffers"].cast<bool>()};
  if (kind == "SWA") return train::Swa{whole("start_epoch"), whole("every")};
  if (kind == "Lookahead") return train::Lookahead{whole("k"), settings["alpha"].cast<double>()};
  throw std::invalid_argument(text("there is no averaging '", kind, "'"));
}

train::Averaging make_averaging(const Network& network, const py::object& tensors, const py::dict& settings) {
  return {read_averaging(settings), train::FlatParameters(network.analysis, read_tensors(network, tensors))};
}

// A method of Averaging that changes the model.
auto on_model(void (train::Averaging::*change)(train::FlatParameters&)) {
  return [change](train::Averaging& averaging, const Network& network, const py::object& lists) {
    const network::Tensors tensors = read_tensors(network, lists);
    const py::gil_scoped_release no_gil;
    train::change_flat(network.analysis, tensors, [&](train::FlatParameters& flat) { (averaging.*change)(flat); });
  };
}

py::dict run_epoch(const Network& network, const py::object& tensors, Engine& engine, train::Optimizer& optimizer,
                   const at::Tensor& images, const at::Tensor& labels, std::vector<float> scale,
                   std::vector<float> shift, const train::Task& task, const train::EpochOptions& options,
                   const py::object& on_progress, const py::object& on_step, std::uint64_t on_step_every) {
  if (options.augmentation == nullptr) check_images(network, images);
  check_labels(labels, images.size(0), output_count(network));
  check_loss(task.loss, output_count(network));
  if (on_step_every < 1) throw std::invalid_argument("on_step_every must be at least 1");
  if (!options.momenta.empty() && !optimizer.has_momentum())
    throw std::invalid_argument("this optimizer has no momentum that could follow a schedule; give it one above 0");
  const train::InputScaling scaling = scaling_of(network, std::move(scale), std::move(shift));
  train::Listeners listeners;
  listeners.on_progress = with_gil<const train::Progress&>(on_progress, [](const train::Progress& progress) {
    return py::make_tuple(py::make_tuple(progress.images, progress.total, progress.loss_sum, progress.correct));
  });
  if (!on_step.is_none())
    listeners.on_step = {with_gil<std::uint64_t, double>(
                             on_step, [](std::uint64_t steps, double mean) { return py::make_tuple(steps, mean); }),
                         on_step_every};
  const train::TensorSource source = tensor_source(network, tensors);
  train::EpochResult result;
  {
    const py::gil_scoped_release no_gil;
    result =
        train::train_epoch(source, engine, optimizer, {elements<std::uint8_t>(images), elements<std::int64_t>(labels)},
                           scaling, task, options, listeners);
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

at::Tensor run_predict(const py::object& lists, Engine& engine, const at::Tensor& images, std::vector<float> scale,
                       std::vector<float> shift, std::int64_t batch_size, const py::object& on_progress) {
  const Network& network = engine.network();
  check_images(network, images);
  if (batch_size < 1) throw std::invalid_argument(text("batch_size=", batch_size, " must be at least 1"));
  const train::InputScaling scaling = scaling_of(network, std::move(scale), std::move(shift));
  const std::int64_t outputs = network::element_count(network.analysis.nodes.back().output_shape);
  const auto report =
      with_gil<std::int64_t>(on_progress, [](std::int64_t images_done) { return py::make_tuple(images_done); });
  const network::Tensors tensors = read_tensors(network, lists);
  const py::gil_scoped_release no_gil;
  return train::predict(tensors, engine, outputs, elements<std::uint8_t>(images), images.size(0), scaling, batch_size,
                        report);
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

void bind_loss(py::module_& module) {
  py::class_<train::Loss>(module, "Loss")
      .def(py::init(&read_loss), py::arg("kind"), py::kw_only(), py::arg("label_smoothing"), py::arg("class_weights"),
           py::arg("teachers"), py::arg("temperature"), py::arg("teachers_weight"), py::keep_alive<1, 5>());
  py::class_<train::Mixing>(module, "Mixing")
      .def(py::init(&read_mixing), py::arg("kind"), py::kw_only(), py::arg("alpha"))
      .def("plan", &mixing_plan, py::kw_only(), py::arg("seed"), py::arg("step"), py::arg("count"), py::arg("height"),
           py::arg("width"));
  module.def("loss_and_gradients", &run_loss, py::arg("loss"), py::arg("outputs"), py::arg("labels"), py::kw_only(),
             py::arg("partners") = py::none(), py::arg("share") = 1.0, py::arg("images") = py::none(),
             py::arg("scale") = std::vector<float>{}, py::arg("shift") = std::vector<float>{});
}

void run_recompute_statistics(Engine& engine, const py::object& lists, const at::Tensor& images,
                              std::vector<float> scale, std::vector<float> shift, std::int64_t batch_size,
                              std::uint64_t seed, const py::object& on_progress) {
  const Network& network = engine.network();
  check_images(network, images);
  if (batch_size < 1) throw std::invalid_argument(text("batch_size=", batch_size, " must be at least 1"));
  const train::InputScaling scaling = scaling_of(network, std::move(scale), std::move(shift));
  const auto report =
      with_gil<std::int64_t>(on_progress, [](std::int64_t images_done) { return py::make_tuple(images_done); });
  const network::Tensors tensors = read_tensors(network, lists);
  const py::gil_scoped_release no_gil;
  train::recompute_statistics(tensors, engine, elements<std::uint8_t>(images), images.size(0), scaling, batch_size,
                              seed, report);
}

void bind_averaging(py::module_& module) {
  py::class_<train::Averaging>(module, "Averaging")
      .def(py::init(&make_averaging), py::arg("network"), py::arg("tensors"), py::arg("settings"))
      .def_property_readonly("ready", &train::Averaging::ready)
      .def_property_readonly("exchanged", &train::Averaging::exchanged)
      .def("after_step", on_model(&train::Averaging::after_step), py::arg("network"), py::arg("tensors"))
      .def(
          "after_epoch",
          [](train::Averaging& averaging, const Network& network, const py::object& tensors, std::uint64_t epoch) {
            averaging.after_epoch(train::FlatParameters(network.analysis, read_tensors(network, tensors)), epoch);
          },
          py::arg("network"), py::arg("tensors"), py::kw_only(), py::arg("epoch"))
      .def("exchange", on_model(&train::Averaging::exchange), py::arg("network"), py::arg("tensors"))
      .def("finish", on_model(&train::Averaging::finish), py::arg("network"), py::arg("tensors"))
      .def("state", &train::Averaging::state)
      .def("restore", &train::Averaging::restore, py::arg("state"));
  module.def("recompute_statistics", &run_recompute_statistics, py::arg("engine"), py::arg("tensors"),
             py::arg("images"), py::kw_only(), py::arg("scale"), py::arg("shift"), py::arg("batch_size"),
             py::arg("seed"), py::arg("on_progress") = py::none());
}

}  // namespace

void bind_train(py::module_& module) {
  bind_loss(module);
  bind_averaging(module);
  module.def(
      "train_epoch",
      [](const py::object& tensors, Engine& engine, train::Optimizer& optimizer, const at::Tensor& images,
         const at::Tensor& labels, std::vector<float> scale, std::vector<float> shift, std::int64_t batch_size,
         std::uint64_t seed, std::uint64_t epoch, std::uint64_t first_step, bool shuffle,
         std::vector<double> learning_rates, std::optional<std::vector<double>> momenta, const train::Loss& loss,
         const train::Mixing* mixing, const Augmentation* augmentation, train::Averaging* averaging,
         const py::object& on_progress, const py::object& on_step, std::uint64_t on_step_every) {
        const train::Task task{loss, mixing == nullptr ? std::nullopt : std::optional(*mixing), averaging};
        const Network& network = engine.network();
        const std::optional<Plan> plan = plan_for(network, images, augmentation);
        const train::EpochOptions options{batch_size,
                                          seed,
                                          epoch,
                                          first_step,
                                          shuffle,
                                          std::move(learning_rates),
                                          std::move(momenta).value_or(std::vector<double>{}),
                                          plan ? &*plan : nullptr};
        return run_epoch(network, tensors, engine, optimizer, images, labels, std::move(scale), std::move(shift), task,
                         options, on_progress, on_step, on_step_every);
      },
      py::arg("tensors"), py::arg("engine"), py::arg("optimizer"), py::arg("images"), py::arg("labels"), py::kw_only(),
      py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("seed"), py::arg("epoch"),
      py::arg("first_step"), py::arg("shuffle"), py::arg("learning_rates"), py::arg("momenta") = py::none(),
      py::arg("loss"), py::arg("mixing") = py::none(), py::arg("augmentation") = py::none(),
      py::arg("averaging") = py::none(), py::arg("on_progress") = py::none(), py::arg("on_step") = py::none(),
      py::arg("on_step_every") = 1);
  module.def("predict", &run_predict, py::arg("tensors"), py::arg("engine"), py::arg("images"), py::kw_only(),
             py::arg("scale"), py::arg("shift"), py::arg("batch_size"), py::arg("on_progress"));
  module.def("score", &run_score, py::arg("outputs"), py::arg("labels"), py::kw_only(), py::arg("normalised"));
}

}  // namespace mnistcnn::bindings
