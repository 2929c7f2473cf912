#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/train/teacher.h"

namespace mnistcnn::train {

// The loss that training minimises. Engines compute a plain loss themselves. Class weights and distillation are
// computed by `evaluate` from the outputs.
struct TrainingLoss {
  engine::Loss plain;
  std::vector<double> class_weights;  // one per class, or empty
  Distillation distillation;

  bool is_plain() const { return class_weights.empty() && distillation.teachers.empty(); }
};

// Throw std::invalid_argument unless class_weights is empty or has one element per class, and every teacher takes
// images of shape `image` and has this number of classes.
void check_loss(const TrainingLoss& loss, const network::Shape& image, std::int64_t classes);

// Targets of a batch.
struct Targets {
  std::span<const std::int64_t> labels{};    // [B]
  std::span<const std::int64_t> partners{};  // [B], labels of the partner images of mixup or CutMix; empty: no mixing
  double share = 1;                          // weight of `labels`; `partners` have weight 1 - share
  std::span<const float> teacher_probabilities{};  // f32 [B, classes], softened by the temperature; empty: no teacher
};

// Compute the mean loss of a batch, as PyTorch defines it, and its gradients. Sums are computed in double.
//   outputs: f32 [B, classes] -> gradients: f32 [B, classes]
// With class weights it is the weighted mean, 0 if all labels have weight 0. loss_sum is the mean times the number of
// images. With mixing, a prediction is correct if it equals the label with the larger share.
engine::StepResult evaluate(const TrainingLoss& loss, std::span<const float> outputs, const Targets& targets,
                            std::span<float> gradients);

}  // namespace mnistcnn::train
