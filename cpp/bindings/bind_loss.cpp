#include <ATen/ops/empty_like.h>

#include <stdexcept>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/outputs.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

using common::text;

// keep_alive: the loss keeps the list of teachers alive.
train::TrainingLoss read_loss(const std::string& kind, double label_smoothing, std::vector<double> class_weights,
                              const std::vector<train::ModelView>& teachers, double temperature,
                              double teachers_weight) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw std::invalid_argument(text("label_smoothing=", label_smoothing, " must be between 0 and 1"));
  if (kind != "nll" && kind != "cross_entropy") throw std::invalid_argument(text("unknown loss '", kind, "'"));
  train::TrainingLoss loss;
  loss.plain = {kind == "nll" ? engine::LossKind::kNegativeLogLikelihood : engine::LossKind::kCrossEntropy,
                label_smoothing};
  loss.class_weights = std::move(class_weights);
  loss.distillation.temperature = temperature;
  loss.distillation.weight = teachers_weight;
  loss.distillation.teachers = teachers;
  return loss;
}

train::Mixing read_mixing(const std::string& kind, double alpha) {
  if (kind != "mixup" && kind != "cutmix") throw std::invalid_argument(text("unknown mixing '", kind, "'"));
  if (!(alpha > 0)) throw std::invalid_argument(text("alpha=", alpha, " must be above 0"));
  return {kind == "mixup" ? train::Mixing::Kind::kMixup : train::Mixing::Kind::kCutMix, alpha};
}

void check_teacher_images(const at::Tensor& images, std::int64_t count, const std::vector<float>& scale,
                          const std::vector<float>& shift) {
  check_array("images", images, at::kFloat, {count, kAnySize, kAnySize, kAnySize});
  const auto channels = static_cast<std::size_t>(images.size(1));
  if (scale.size() != channels || shift.size() != channels)
    throw std::invalid_argument(text("scale and shift must have ", channels, " elements, one per channel"));
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
    at::Tensor probabilities;
    if (has_teachers) {
      probabilities = train::teacher_probabilities(used.distillation, train::tensors_of_teachers(used.distillation),
                                                   *images, scale, shift);
      targets.teacher_probabilities = elements<const float>(probabilities);
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
        text("count=", count, ", height=", height, " and width=", width, " must be at least 1"));
  const train::MixingPlan plan = train::draw(mixing, seed, step, count, height, width);
  py::dict record;
  record["share"] = plan.share;
  record["partners"] = plan.partners;
  record["box"] = py::make_tuple(plan.box.top, plan.box.left, plan.box.bottom, plan.box.right);
  return record;
}

}  // namespace

void bind_loss(py::module_& module) {
  py::class_<train::TrainingLoss>(module, "Loss")
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

}  // namespace mnistcnn::bindings
