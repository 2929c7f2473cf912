#include <stdexcept>
#include <vector>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"

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

}  // namespace

void bind_loss(py::module_& module) {
  py::class_<train::TrainingLoss>(module, "Loss")
      .def(py::init(&read_loss), py::arg("kind"), py::kw_only(), py::arg("label_smoothing"), py::arg("class_weights"),
           py::arg("teachers"), py::arg("temperature"), py::arg("teachers_weight"), py::keep_alive<1, 5>());
  py::class_<train::Mixing>(module, "Mixing")
      .def(py::init(&read_mixing), py::arg("kind"), py::kw_only(), py::arg("alpha"));
}

}  // namespace mnistcnn::bindings
