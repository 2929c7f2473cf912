#include "mnistcnn/train/teacher.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>

namespace mnistcnn::train {
namespace {

at::Tensor per_channel(const std::vector<float>& numbers, const at::Device& device) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  return at::from_blob(const_cast<float*>(numbers.data()), {1, count, 1, 1}, at::kFloat).to(device);  // read only
}

at::Tensor seen_by(const Teacher& teacher, const at::Tensor& images) {
  const auto is = [](float wanted) { return [wanted](float each) { return each == wanted; }; };
  if (std::all_of(teacher.scale.begin(), teacher.scale.end(), is(1)) &&
      std::all_of(teacher.shift.begin(), teacher.shift.end(), is(0)))
    return images;
  return images * per_channel(teacher.scale, images.device()) + per_channel(teacher.shift, images.device());
}

}  // namespace

at::Tensor opinions(const Distillation& distillation, const at::Tensor& images) {
  const at::NoGradGuard guard;
  at::Tensor sum;
  for (const Teacher& teacher : distillation.teachers) {
    at::Tensor outputs =
        teacher.engine->forward(seen_by(teacher, images), engine::Mode::kEvaluate, {}, engine::Keep::kNothing);
    if (teacher.gives_probabilities) outputs = outputs.clamp_min(std::numeric_limits<float>::min()).log();
    const at::Tensor opinion = at::softmax(outputs / distillation.temperature, 1);
    sum = sum.defined() ? sum + opinion : opinion;
  }
  return (sum / static_cast<double>(distillation.teachers.size())).cpu().contiguous();
}

}  // namespace mnistcnn::train
