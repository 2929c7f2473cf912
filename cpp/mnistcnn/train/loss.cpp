#include "mnistcnn/train/loss.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "mnistcnn/common/text.h"
#include "mnistcnn/train/outputs.h"
#include "mnistcnn/train/softmax.h"

namespace mnistcnn::train {
namespace {

using Row = std::vector<double>;  // [classes]

double weight_of(const TrainingLoss& loss, std::int64_t label) {
  return loss.class_weights.empty() ? 1 : loss.class_weights[static_cast<std::size_t>(label)];
}

void add_target(const TrainingLoss& loss, std::int64_t label, double share, Row& target) {
  const double smoothing = loss.plain.label_smoothing;
  target[static_cast<std::size_t>(label)] += share * (1 - smoothing) * weight_of(loss, label);
  if (smoothing == 0) return;
  const double spread = share * smoothing / static_cast<double>(target.size());
  for (std::size_t i = 0; i < target.size(); ++i) target[i] += spread * weight_of(loss, static_cast<std::int64_t>(i));
}

// Return -sum(target * log p) and add its gradient to `gradients`. The outputs are logits or log-probabilities.
double label_loss(const TrainingLoss& loss, std::span<const float> outputs, const Row& target, Softmax& softmax,
                  Row& gradients) {
  double value = 0, total = 0;
  const bool logits = loss.plain.kind == engine::LossKind::kCrossEntropy;
  if (logits) softmax.compute(outputs, 1);
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (target[i] == 0) continue;  // avoids 0 * inf: a log-probability may be -inf
    value -= target[i] * (logits ? softmax.logarithms[i] : static_cast<double>(outputs[i]));
    total += target[i];
    gradients[i] -= target[i];
  }
  if (logits)
    for (std::size_t i = 0; i < target.size(); ++i) gradients[i] += total * softmax.probabilities[i];
  return value;
}

// Return weight * T^2 * KL(teacher || softmax(outputs / T)) and add its gradient to `gradients`.
double distillation_loss(double temperature, double weight, std::span<const float> outputs,
                         std::span<const float> teacher, Softmax& softmax, Row& gradients) {
  softmax.compute(outputs, 1 / temperature);
  double value = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const double teacher_probability = teacher[i];
    if (teacher_probability > 0) value += teacher_probability * (std::log(teacher_probability) - softmax.logarithms[i]);
    gradients[i] += weight * temperature * (softmax.probabilities[i] - teacher_probability);
  }
  return weight * temperature * temperature * value;
}

}  // namespace

void check_loss(const TrainingLoss& loss, const network::Shape& image, std::int64_t classes) {
  if (!loss.class_weights.empty() && static_cast<std::int64_t>(loss.class_weights.size()) != classes)
    throw std::invalid_argument(
        common::text("got ", loss.class_weights.size(), " class weights for a network with ", classes, " outputs"));
  for (const ModelView& teacher : loss.distillation.teachers) {
    const network::Shape& expected = teacher.network().graph.input_shape;
    const std::int64_t outputs = class_count(teacher.network());
    if (expected != image || outputs != classes)
      throw std::invalid_argument(common::text("the teacher takes images ", common::bracketed(expected), " and has ",
                                               outputs, " outputs, but the student takes ", common::bracketed(image),
                                               " and has ", classes, " outputs"));
  }
}

engine::StepResult evaluate(const TrainingLoss& loss, std::span<const float> outputs, const Targets& targets,
                            std::span<float> gradients) {
  const std::size_t count = targets.labels.size(), classes = outputs.size() / count;
  const bool has_partners = !targets.partners.empty(), has_teachers = !targets.teacher_probabilities.empty();
  const double teacher_weight = has_teachers ? loss.distillation.weight / static_cast<double>(count) : 0;
  const double label_weight = has_teachers ? 1 - loss.distillation.weight : 1;
  double weight_sum = 0;
  for (const std::int64_t label : targets.labels) weight_sum += weight_of(loss, label);
  const double weight_per_label = weight_sum > 0 ? label_weight / weight_sum : 0;
  engine::StepResult result;
  Row target(classes), row_gradients(classes);
  Softmax softmax;
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<const float> row = outputs.subspan(i * classes, classes);
    std::fill(target.begin(), target.end(), 0.0);
    std::fill(row_gradients.begin(), row_gradients.end(), 0.0);
    add_target(loss, targets.labels[i], weight_per_label * targets.share, target);
    if (has_partners) add_target(loss, targets.partners[i], weight_per_label * (1 - targets.share), target);
    result.loss_sum += label_loss(loss, row, target, softmax, row_gradients);
    if (has_teachers)
      result.loss_sum +=
          distillation_loss(loss.distillation.temperature, teacher_weight, row,
                            targets.teacher_probabilities.subspan(i * classes, classes), softmax, row_gradients);
    std::transform(row_gradients.begin(), row_gradients.end(),
                   gradients.begin() + static_cast<std::ptrdiff_t>(i * classes),
                   [](double each) { return static_cast<float>(each); });
    const std::int64_t label = has_partners && targets.share < 0.5 ? targets.partners[i] : targets.labels[i];
    result.correct += std::max_element(row.begin(), row.end()) - row.begin() == label ? 1 : 0;
  }
  result.loss_sum *= static_cast<double>(count);
  return result;
}

}  // namespace mnistcnn::train
