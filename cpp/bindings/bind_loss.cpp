#include <ATen/ops/empty_like.h>

#include <stdexcept>
#include <vector>

#include "bindings.h"
#include "images.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/outputs.h"

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

// Return (loss_sum, correct, gradients) of a batch, as a training step computes them.
py::tuple run_loss(const train::TrainingLoss& loss, const at::Tensor& outputs, const at::Tensor& labels,
                   const std::optional<at::Tensor>& partners, double share, const std::optional<at::Tensor>& images,
                   const std::vector<float>& scale, const std::vector<float>& shift) {
  const std::int64_t classes = outputs.size(1);
  check_labels(labels, outputs.size(0));
  train::check_labels(elements<std::int64_t>(labels), classes);
  train::check_class_weights(loss, classes);
  train::Targets targets{.labels = elements<std::int64_t>(labels)};
  if (partners) {
    check_labels(*partners, outputs.size(0));
    targets.partners = elements<std::int64_t>(*partners);
    train::check_labels(targets.partners, classes);
    targets.share = share;
  }
  at::Tensor probabilities;
  if (images && !loss.distillation.teachers.empty()) {
    probabilities = train::teacher_probabilities(loss.distillation, train::tensors_of_teachers(loss.distillation),
                                                 *images, scale, shift);
    targets.teacher_probabilities = elements<float>(probabilities);
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
