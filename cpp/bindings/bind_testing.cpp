#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "callbacks.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/averaging.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/optimizer.h"
#include "mnistcnn/train/outputs.h"
#include "mnistcnn/train/statistics.h"
#include "native_calls.h"
#include "recipe.h"
#include "tensors.h"

// Submodule `testing`: the parts of a training run as single calls, which the tests compare with PyTorch. The package
// does not use it.
namespace mnistcnn::bindings {
namespace {

using common::text;

std::unique_ptr<train::Optimizer> make_optimizer(const network::Network& network, const py::dict& settings,
                                                 const RangePairs& trainable, const RangePairs& undecayed) {
  const auto [rule, gradients] = read_optimizer(settings);
  const NativeCall no_gil;
  return std::make_unique<train::Optimizer>(rule, gradients, train::parameter_slices(network), read_ranges(trainable),
                                            read_ranges(undecayed));
}

void optimizer_step(train::Optimizer& optimizer, at::Tensor values, const at::Tensor& gradients, double learning_rate,
                    std::optional<double> momentum) {
  check_array("values", values, at::kFloat, {values.numel()});
  check_array("gradients", gradients, at::kFloat, {values.numel()});
  const NativeCall no_gil;
  optimizer.step(values, gradients, learning_rate, momentum);
}

void check_teacher_images(const at::Tensor& images, std::int64_t count, const std::vector<float>& scale,
                          const std::vector<float>& shift) {
  check_array("images", images, at::kFloat, {count, kAnySize, kAnySize, kAnySize});
  const auto channels = static_cast<std::size_t>(images.size(1));
  if (scale.size() != channels || shift.size() != channels)
    throw std::invalid_argument(text("scale and shift must have ", channels, " elements, one per channel, got ",
                                     scale.size(), " and ", shift.size()));
}

// Return a copy of the labels. Throw std::invalid_argument if a label is out of range.
std::vector<std::int64_t> checked_labels(const at::Tensor& labels, std::int64_t classes) {
  const std::span<const std::int64_t> values = elements<const std::int64_t>(labels);
  std::vector<std::int64_t> copy(values.begin(), values.end());
  train::check_labels(copy, classes);
  return copy;
}

// Return (loss_sum, correct, gradients) of a batch, as a training step computes them.
py::tuple run_loss(const train::TrainingLoss& loss, const at::Tensor& outputs, const at::Tensor& labels,
                   const std::optional<at::Tensor>& partners, double share, const std::optional<at::Tensor>& images,
                   const std::vector<float>& scale, const std::vector<float>& shift) {
  check_array("outputs", outputs, at::kFloat, {kAnySize, kAnySize});
  const std::int64_t count = outputs.size(0), classes = outputs.size(1);
  check_labels(labels, count);
  if (partners) check_array("partners", *partners, at::kLong, {count});
  train::TrainingLoss used = loss;
  if (!images) used.distillation.teachers.clear();
  const bool has_teachers = !used.distillation.teachers.empty();
  if (has_teachers) check_teacher_images(*images, count, scale, shift);
  train::check_loss(used, has_teachers ? images->sizes().slice(1).vec() : network::Shape{}, classes);
  at::Tensor gradients;
  engine::StepResult result;
  {
    const NativeCall no_gil;
    // Copies, because other threads may change the tensors of the caller after the check.
    const std::vector<std::int64_t> own_labels = checked_labels(labels, classes);
    const std::vector<std::int64_t> own_partners =
        partners ? checked_labels(*partners, classes) : std::vector<std::int64_t>{};
    train::Targets targets{.labels = own_labels, .partners = own_partners, .share = partners ? share : 1};
    std::vector<float> probabilities;
    if (has_teachers) {
      probabilities = train::teacher_probabilities(used.distillation, train::tensors_of_teachers(used.distillation),
                                                   *images, scale, shift);
      targets.teacher_probabilities = probabilities;
    }
    gradients = at::empty_like(outputs);
    result = train::evaluate(used, elements<const float>(outputs), targets, elements<float>(gradients));
  }
  return py::make_tuple(result.loss_sum, result.correct, gradients);
}

py::dict mixing_plan(const train::Mixing& mixing, std::uint64_t seed, std::uint64_t step, std::int64_t count,
                     std::int64_t height, std::int64_t width) {
  if (count < 1 || height < 1 || width < 1)
    throw std::invalid_argument(
        text("count, height and width must be at least 1, got ", count, ", ", height, " and ", width));
  const train::MixingPlan plan = train::draw(mixing, seed, step, count, height, width);
  py::dict record;
  record["share"] = plan.share;
  record["partners"] = plan.partners;
  record["box"] = py::make_tuple(plan.box.top, plan.box.left, plan.box.bottom, plan.box.right);
  return record;
}

void after_step(train::Averaging& averaging, const network::Network& network, const py::object& lists) {
  const network::Tensors tensors = read_tensors(network, lists);
  const NativeCall no_gil;
  train::change_flat(network.analysis, tensors, [&](train::FlatParameters& flat) { averaging.after_step(flat); });
}

void after_epoch(train::Averaging& averaging, const network::Network& network, const py::object& lists,
                 std::uint64_t epoch) {
  const network::Tensors tensors = read_tensors(network, lists);
  const NativeCall no_gil;
  averaging.after_epoch(train::FlatParameters(network.analysis, tensors), epoch);
}

void recompute(const train::ModelView& model, const at::Tensor& images, std::int64_t batch_size, std::uint64_t seed,
               const py::object& on_progress) {
  check_images(images, model.network().graph.input_shape);
  const train::OnImages report = images_with_gil(on_progress);
  const NativeCall no_gil;
  train::recompute_statistics(model, elements<const std::uint8_t>(images), images.size(0), batch_size, seed, report);
}

// Apply the first step of an augmentation to an image, u8 [C, H, W], with given random numbers.
py::array_t<std::uint8_t> apply_first(const data::augmentation::Augmentation& augmentation,
                                      const py::array_t<std::uint8_t, py::array::c_style>& image,
                                      const std::vector<double>& numbers) {
  using data::augmentation::AugmentationPlan;
  if (image.ndim() != 3)
    throw std::invalid_argument(text("image must be [C, H, W], got ", image.ndim(), " dimensions"));
  data::augmentation::Numbers padded_numbers{};
  std::copy_n(numbers.begin(), std::min(numbers.size(), padded_numbers.size()), padded_numbers.begin());
  const AugmentationPlan plan({augmentation.steps.at(0)}, {image.shape(0), image.shape(1), image.shape(2)});
  const AugmentationPlan::Result result = plan.apply_first(padded_numbers, image.data());
  py::array_t<std::uint8_t> array({result.size.channels, result.size.height, result.size.width});
  std::copy(result.pixels.begin(), result.pixels.end(), array.mutable_data());
  return array;
}

}  // namespace

void bind_testing(py::module_& module) {
  py::module_ testing = module.def_submodule("testing");
  py::class_<train::Optimizer>(testing, "Optimizer")
      .def(py::init(&make_optimizer), py::arg("network"), py::arg("settings"), py::kw_only(), py::arg("trainable"),
           py::arg("undecayed"))
      .def(
          "set_trainable",
          [](train::Optimizer& optimizer, const RangePairs& trainable) {
            optimizer.set_trainable(read_ranges(trainable));
          },
          py::arg("trainable"))
      .def("step", &optimizer_step, py::arg("values"), py::arg("gradients"), py::kw_only(), py::arg("learning_rate"),
           py::arg("momentum"))
      .def("state", &train::Optimizer::state, py::call_guard<NativeCall>())
      .def("restore", &train::Optimizer::restore, py::arg("state"), py::call_guard<NativeCall>());
  testing.def("loss_and_gradients", &run_loss, py::arg("loss"), py::arg("outputs"), py::arg("labels"), py::kw_only(),
              py::arg("partners") = py::none(), py::arg("share") = 1.0, py::arg("images") = py::none(),
              py::arg("scale") = std::vector<float>{}, py::arg("shift") = std::vector<float>{});
  testing.def("mixing_plan", &mixing_plan, py::arg("mixing"), py::kw_only(), py::arg("seed"), py::arg("step"),
              py::arg("count"), py::arg("height"), py::arg("width"));
  testing.def("after_step", &after_step, py::arg("averaging"), py::arg("network"), py::arg("tensors"));
  testing.def("after_epoch", &after_epoch, py::arg("averaging"), py::arg("network"), py::arg("tensors"), py::kw_only(),
              py::arg("epoch"));
  testing.def("recompute_statistics", &recompute, py::arg("model"), py::arg("images"), py::kw_only(),
              py::arg("batch_size"), py::arg("seed"), py::arg("on_progress") = py::none());
  testing.def("apply_first", &apply_first, py::arg("augmentation"), py::arg("image"), py::arg("numbers"));
}

}  // namespace mnistcnn::bindings
