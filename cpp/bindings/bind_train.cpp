#include <memory>
#include <stdexcept>

#include "arrays.h"
#include "bindings.h"
#include "callbacks.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/training_run.h"
#include "native_calls.h"
#include "recipe.h"
#include "tensors.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using data::augmentation::Augmentation;
using data::augmentation::Size;
using train::ModelView;
using train::TrainingRun;

// keep_alive: the view keeps the function and the engine alive.
ModelView make_view(const py::handle& tensors, engine::Engine& engine, std::vector<float> scale,
                    std::vector<float> shift) {
  const auto channels = static_cast<std::size_t>(engine.network().graph.input_shape[0]);
  if (scale.size() != channels || shift.size() != channels)
    throw std::invalid_argument(text("scale and shift must have ", channels, " elements, one per channel, got ",
                                     scale.size(), " and ", shift.size()));
  return {engine, tensor_source(engine.network(), tensors), {std::move(scale), std::move(shift)}};
}

// keep_alive: the run keeps the loss alive, and the loss its teachers.
std::unique_ptr<TrainingRun> make_run(const ModelView& model, std::int64_t batch_size, std::uint64_t seed, bool shuffle,
                                      const py::dict& optimizer, const RangePairs& undecayed,
                                      std::optional<double> scheduled_momentum, const train::TrainingLoss& loss,
                                      const train::Mixing* mixing, const Augmentation* augmentation,
                                      const std::optional<py::dict>& averaging) {
  train::Recipe recipe{.batch_size = batch_size, .undecayed = read_ranges(undecayed), .shuffle = shuffle, .seed = seed};
  const OptimizerSettings settings = read_optimizer(optimizer);
  recipe.optimizer = settings.rule;
  recipe.gradients = settings.gradients;
  recipe.loss = loss;
  if (mixing != nullptr) recipe.mixing = *mixing;
  if (augmentation != nullptr) recipe.augmentation = augmentation->steps;
  if (averaging) recipe.averaging = read_averaging(*averaging);
  const NativeCall no_gil;
  return std::make_unique<TrainingRun>(model, std::move(recipe), scheduled_momentum);
}

train::Listeners read_listeners(const py::object& on_progress, const py::object& on_step, std::uint64_t every) {
  if (every < 1) throw std::invalid_argument(text("on_step_every must be at least 1, got ", every));
  train::Listeners listeners;
  listeners.on_progress = with_gil<const train::Progress&>(on_progress, [](const train::Progress& progress) {
    return py::make_tuple(py::make_tuple(progress.images, progress.total, progress.loss_sum, progress.correct));
  });
  if (!on_step.is_none())
    listeners.on_step = {with_gil<std::uint64_t, double>(
                             on_step, [](std::uint64_t steps, double mean) { return py::make_tuple(steps, mean); }),
                         every};
  return listeners;
}

py::dict next_epoch(TrainingRun& run, const ModelView& model, const at::Tensor& images, const at::Tensor& labels,
                    std::vector<double> learning_rates, std::optional<std::vector<double>> momenta,
                    const RangePairs& trainable, const py::object& on_progress, const py::object& on_step,
                    std::uint64_t on_step_every) {
  if (run.augments())
    check_images(images);
  else
    check_images(images, model.network().graph.input_shape);
  check_labels(labels, images.size(0));
  run.set_trainable(read_ranges(trainable));
  const train::Rates rates{std::move(learning_rates), std::move(momenta).value_or(std::vector<double>{})};
  const train::Listeners listeners = read_listeners(on_progress, on_step, on_step_every);
  train::EpochResult result;
  {
    const NativeCall no_gil;
    result = run.next_epoch(model, {elements<const std::uint8_t>(images), elements<const std::int64_t>(labels)}, rates,
                            listeners, Size{images.size(1), images.size(2), images.size(3)});
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

// Return (mean loss, accuracy).
py::tuple evaluate(const TrainingRun& run, const ModelView& model, const at::Tensor& images, const at::Tensor& labels) {
  check_images(images, model.network().graph.input_shape);
  check_labels(labels, images.size(0));
  const py::object no_callback = py::none();
  const train::OnImages report = images_with_gil(no_callback);
  metrics::Scores scores;
  {
    const NativeCall no_gil;
    scores = run.evaluate(model, {elements<const std::uint8_t>(images), elements<const std::int64_t>(labels)},
                          train::kTestBatch, report);
  }
  return py::make_tuple(scores.loss(), scores.accuracy());
}

void finish(TrainingRun& run, const ModelView& model, const at::Tensor& images) {
  check_images(images);
  if (run.needs_new_statistics()) check_images(images, model.network().graph.input_shape);
  const py::object no_callback = py::none();
  const train::OnImages report = images_with_gil(no_callback);
  const NativeCall no_gil;
  run.finish(model, elements<const std::uint8_t>(images), images.size(0), report);
}

at::Tensor predict(const ModelView& model, const at::Tensor& images, std::int64_t batch_size,
                   const py::object& on_progress) {
  check_images(images, model.network().graph.input_shape);
  const train::OnImages report = images_with_gil(on_progress);
  const NativeCall no_gil;
  return train::predict(model, elements<const std::uint8_t>(images), images.size(0), batch_size, report);
}

}  // namespace

void bind_train(py::module_& module) {
  py::class_<ModelView>(module, "ModelView")
      .def(py::init(&make_view), py::arg("tensors"), py::arg("engine"), py::kw_only(), py::arg("scale"),
           py::arg("shift"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>());
  py::class_<TrainingRun>(module, "TrainingRun")
      .def(py::init(&make_run), py::arg("model"), py::kw_only(), py::arg("batch_size"), py::arg("seed"),
           py::arg("shuffle"), py::arg("optimizer"), py::arg("undecayed"), py::arg("scheduled_momentum") = py::none(),
           py::arg("loss"), py::arg("mixing") = py::none(), py::arg("augmentation") = py::none(),
           py::arg("averaging") = py::none(), py::keep_alive<1, 9>())
      .def("continue_after", &TrainingRun::continue_after, py::arg("model"), py::kw_only(), py::arg("epochs"),
           py::arg("steps"), py::call_guard<NativeCall>())
      .def("next_epoch", &next_epoch, py::arg("model"), py::arg("images"), py::arg("labels"), py::kw_only(),
           py::arg("learning_rates"), py::arg("momenta") = py::none(), py::arg("trainable"),
           py::arg("on_progress") = py::none(), py::arg("on_step") = py::none(), py::arg("on_step_every") = 1)
      .def("evaluate", &evaluate, py::arg("model"), py::arg("images"), py::arg("labels"))
      .def("finish", &finish, py::arg("model"), py::arg("images"))
      .def_property_readonly("averaging", &TrainingRun::averaging)
      .def(
          "state", [](const TrainingRun& run) { return run.state().tensors; }, py::call_guard<NativeCall>())
      .def(
          "restore",
          [](TrainingRun& run, train::NamedTensors tensors, std::uint64_t epochs, std::uint64_t steps) {
            run.restore({epochs, steps, std::move(tensors)});
          },
          py::arg("state"), py::kw_only(), py::arg("epochs"), py::arg("steps"), py::call_guard<NativeCall>());
  module.def("predict", &predict, py::arg("model"), py::arg("images"), py::kw_only(), py::arg("batch_size"),
             py::arg("on_progress") = py::none());
}

}  // namespace mnistcnn::bindings
