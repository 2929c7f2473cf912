#include "mnistcnn/train/teacher.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "mnistcnn/train/outputs.h"
#include "mnistcnn/train/softmax.h"

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

// Add the softened probabilities of a teacher to `sums`, f64 [B, classes]. outputs: f32 [B, classes] on the CPU.
// PyTorch's softmax would give other bits on CPUs with other instruction sets.
void add_probabilities(const at::Tensor& outputs, OutputKind kind, double temperature, Softmax& softmax,
                       std::vector<double>& sums) {
  const auto classes = static_cast<std::size_t>(outputs.size(1));
  const std::span<const float> all = network::elements<const float>(outputs);
  std::vector<float> row(classes);
  sums.resize(all.size());
  for (std::size_t first = 0; first < all.size(); first += classes) {
    std::ranges::copy(all.subspan(first, classes), row.begin());
    if (kind == OutputKind::kProbabilities) std::ranges::transform(row, row.begin(), log_of_probability);
    softmax.compute(row, 1 / temperature);
    for (std::size_t i = 0; i < classes; ++i) sums[first + i] += softmax.probabilities[i];
  }
}

}  // namespace

std::vector<network::Tensors> tensors_of_teachers(const Distillation& distillation) {
  std::vector<network::Tensors> result;
  for (const ModelView& teacher : distillation.teachers) result.push_back(teacher.tensors());
  return result;
}

std::vector<float> teacher_probabilities(const Distillation& distillation, std::span<const network::Tensors> tensors,
                                         const at::Tensor& images, std::span<const float> scale,
                                         std::span<const float> shift) {
  const at::NoGradGuard guard;
  std::vector<double> sums;
  Softmax softmax;
  for (std::size_t i = 0; i < distillation.teachers.size(); ++i) {
    const ModelView& teacher = distillation.teachers[i];
    const at::Tensor forward = teacher.engine->forward(tensors[i], renormalize_for(teacher, images, scale, shift),
                                                       engine::Mode::kEvaluate, {}, engine::Keep::kNothing);
    const at::Tensor outputs = forward.cpu().contiguous();
    add_probabilities(outputs, output_kind(teacher.network()), distillation.temperature, softmax, sums);
  }
  std::vector<float> means(sums.size());
  const auto teachers = static_cast<double>(distillation.teachers.size());
  std::ranges::transform(sums, means.begin(), [&](double sum) { return static_cast<float>(sum / teachers); });
  return means;
}

}  // namespace mnistcnn::train
