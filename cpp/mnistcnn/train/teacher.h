#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "mnistcnn/train/model_view.h"

// Knowledge distillation.
namespace mnistcnn::train {

// Distillation loss of Hinton et al.: weight * T^2 * KL(teachers || student) + (1 - weight) * loss of the labels, where
// the logits of both are divided by the temperature T.
struct Distillation {
  std::vector<ModelView> teachers;  // trained models; each has its own engine
  double temperature = 4, weight = 0.5;
};

// Return the current tensors of each teacher.
std::vector<network::Tensors> tensors_of_teachers(const Distillation& distillation);

// Return the mean of the teachers' softened probabilities, [B, classes]. tensors: one element per teacher.
// images: f32 [B, C, H, W] with the student's normalization, pixel * scale + shift.
std::vector<float> teacher_probabilities(const Distillation& distillation, std::span<const network::Tensors> tensors,
                                         const at::Tensor& images, std::span<const float> scale,
                                         std::span<const float> shift);

}  // namespace mnistcnn::train
