#include "mnistcnn/train/teacher.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/softmax.h>

#include <algorithm>

#include "mnistcnn/train/outputs.h"

namespace mnistcnn::train {
namespace {

at::Tensor per_channel(const std::vector<float>& numbers, const at::Device& device) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  return at::from_blob(const_cast<float*>(numbers.data()), {1, count, 1, 1}, at::kFloat).to(device);  // read only
}

// Convert images with the student's normalization to the teacher's.
at::Tensor renormalize_for(const ModelView& teacher, const at::Tensor& images, std::span<const float> scale,
                           std::span<const float> shift) {
  if (std::ranges::equal(teacher.scaling.scale, scale) && std::ranges::equal(teacher.scaling.shift, shift))
    return images;
  std::vector<float> scale_ratio, shift_difference;
  for (std::size_t channel = 0; channel < scale.size(); ++channel) {
    scale_ratio.push_back(teacher.scaling.scale[channel] / scale[channel]);
    shift_difference.push_back(teacher.scaling.shift[channel] - shift[channel] * scale_ratio.back());
  }
  return images * per_channel(scale_ratio, images.device()) + per_channel(shift_difference, images.device());
}

}  // namespace

std::vector<network::Tensors> tensors_of_teachers(const Distillation& distillation) {
  std::vector<network::Tensors> result;
  for (const ModelView& teacher : distillation.teachers) result.push_back(teacher.tensors());
  return result;
}

at::Tensor teacher_probabilities(const Distillation& distillation, std::span<const network::Tensors> tensors,
                                 const at::Tensor& images, std::span<const float> scale, std::span<const float> shift) {
  const at::NoGradGuard guard;
  at::Tensor sum;
  for (std::size_t i = 0; i < distillation.teachers.size(); ++i) {
    const ModelView& teacher = distillation.teachers[i];
    at::Tensor outputs = teacher.engine->forward(tensors[i], renormalize_for(teacher, images, scale, shift),
                                                 engine::Mode::kEvaluate, {}, engine::Keep::kNothing);
    if (output_kind(teacher.network()) == OutputKind::kProbabilities) outputs = log_of_probabilities(outputs);
    const at::Tensor probabilities = at::softmax(outputs / distillation.temperature, 1);
    sum = sum.defined() ? sum + probabilities : probabilities;
  }
  return (sum / static_cast<double>(distillation.teachers.size())).cpu().contiguous();
}

}  // namespace mnistcnn::train
