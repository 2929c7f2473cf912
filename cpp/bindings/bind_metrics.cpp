#include <stdexcept>
#include <string>

#include "arrays.h"
#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/evaluation.h"
#include "native_calls.h"

namespace mnistcnn::bindings {
namespace {

using common::text;

train::OutputKind read_kind(const std::string& kind) {
  if (kind == "logits") return train::OutputKind::kLogits;
  if (kind == "log_probabilities") return train::OutputKind::kLogProbabilities;
  if (kind == "probabilities") return train::OutputKind::kProbabilities;
  throw std::invalid_argument(text("unknown kind of outputs '", kind, "'"));
}

py::dict run_score(const at::Tensor& outputs, const at::Tensor& labels, const std::string& kind) {
  check_array("outputs", outputs, at::kFloat, {kAnySize, kAnySize});
  check_labels(labels, outputs.size(0));
  const train::OutputKind output_kind = read_kind(kind);
  metrics::Scores scores;
  {
    const NativeCall no_gil;
    scores = train::score(outputs, elements<const std::int64_t>(labels), output_kind);
  }
  const py::ssize_t classes = outputs.size(1);
  py::dict record;
  record["loss_sum"] = scores.loss_sum;
  record["correct"] = scores.correct;
  record["predictions"] =
      py::array_t<std::int64_t>(static_cast<py::ssize_t>(scores.predictions.size()), scores.predictions.data());
  record["confusion"] = py::array_t<std::int64_t>({classes, classes}, scores.confusion.data());
  return record;
}

using Counts = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

// Return (precision, recall, f1, count) of each class.
py::list run_class_scores(const Counts& confusion) {
  if (confusion.ndim() != 2 || confusion.shape(0) != confusion.shape(1))
    throw std::invalid_argument(text("confusion must be square, [classes, classes], got ",
                                     common::bracketed(std::span(confusion.shape(), confusion.ndim()))));
  const auto classes = static_cast<std::size_t>(confusion.shape(0));
  py::list scores;
  for (const auto& each : metrics::class_scores({confusion.data(), classes * classes}, classes))
    scores.append(py::make_tuple(each.precision, each.recall, each.f1, each.count));
  return scores;
}

}  // namespace

void bind_metrics(py::module_& module) {
  module.def("score", &run_score, py::arg("outputs"), py::arg("labels"), py::kw_only(), py::arg("kind"));
  module.def("class_scores", &run_class_scores, py::arg("confusion"));
}

}  // namespace mnistcnn::bindings
