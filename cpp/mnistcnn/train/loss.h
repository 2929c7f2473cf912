#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/train/teacher.h"

namespace mnistcnn::train {

// What a step makes small. A plain one is the engine's own; anything more is computed here from the outputs.
struct Loss {
  engine::Loss plain;
  std::vector<double> class_weights;  // one per class, or none
  Distillation distillation;

  bool is_plain() const { return class_weights.empty() && distillation.teachers.empty(); }
};

// Throw std::invalid_argument unless there are no class weights, or one for each class.
void check_class_weights(const Loss& loss, std::int64_t classes);

// What the outputs of a batch are compared with.
struct Targets {
  std::span<const std::int64_t> labels{};    // [B]
  std::span<const std::int64_t> partners{};  // [B], labels of the images that were mixed in; empty: none
  double share = 1;                          // of the first labels
  std::span<const float>
      teacher_probabilities{};  // f32 [B, classes], the teachers' softened probabilities; empty: none
};

// PyTorch's mean loss over the batch and its gradients, all sums in double.
//   outputs: f32 [B, classes] -> gradients: f32 [B, classes]
// With class weights the mean is the weighted one, as PyTorch's; a batch whose labels weigh nothing counts as 0. The
// result's loss_sum is this mean times the number of images. An answer is correct when it is the label with the larger
// share.
engine::StepResult evaluate(const Loss& loss, std::span<const float> outputs, const Targets& targets,
                            std::span<float> gradients);

}  // namespace mnistcnn::train
