#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "mnistcnn/train/model_view.h"

namespace mnistcnn::train {

// Hinton's: weight * temperature^2 * KL(teachers || student), both softened, + (1 - weight) * the loss of the labels.
struct Distillation {
  std::vector<ModelView> teachers;  // trained models with engines of their own
  double temperature = 4, weight = 0.5;
};

// The present tensors of each teacher.
std::vector<network::Tensors> tensors_of_teachers(const Distillation& distillation);

// images: f32 [B, C, H, W], pixel * scale + shift as the student takes them; tensors: of each teacher -> f32 [B,
// classes] on the CPU: the mean of the teachers' softened probabilities.
at::Tensor teacher_probabilities(const Distillation& distillation, std::span<const network::Tensors> tensors,
                                 const at::Tensor& images, std::span<const float> scale, std::span<const float> shift);

}  // namespace mnistcnn::train
