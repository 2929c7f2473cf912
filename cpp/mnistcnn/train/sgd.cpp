#include "mnistcnn/train/sgd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::train {

using common::text;

Sgd::Sgd(SgdOptions options, std::vector<Range> trainable, const at::Tensor& values)
    : options_(options), count_(values.numel()) {
  set_trainable(std::move(trainable));
  if (options_.nesterov && (options_.momentum <= 0 || options_.dampening != 0))
    throw std::invalid_argument("Nesterov momentum needs a momentum above 0 and no dampening");
  if (options_.momentum != 0) velocity_ = at::zeros_like(values);
}

void Sgd::set_trainable(std::vector<Range> trainable) {
  for (const Range& range : trainable)
    if (range.begin < 0 || range.end < range.begin || range.end > count_)
      throw std::invalid_argument(
          text("the trainable range [", range.begin, ", ", range.end, ") lies outside the ", count_, " parameters"));
  trainable_ = std::move(trainable);
}

void Sgd::step(at::Tensor& values, const at::Tensor& gradients, double learning_rate) {
  if (values.is_cpu())
    step_on_cpu(values.mutable_data_ptr<float>(), gradients.const_data_ptr<float>(), learning_rate);
  else
    step_by_tensors(values, gradients, learning_rate);
  started_ = true;
}

void Sgd::step_on_cpu(float* values, const float* gradients, double learning_rate) {
  const auto rate = static_cast<float>(learning_rate);
  const auto decay = static_cast<float>(options_.weight_decay);
  const auto momentum = static_cast<float>(options_.momentum);
  const auto fresh = started_ ? static_cast<float>(1 - options_.dampening) : 1.0F;
  float* const velocity = velocity_.defined() ? velocity_.mutable_data_ptr<float>() : nullptr;
  for (const Range& range : trainable_) {
    if (velocity == nullptr) {
      for (std::int64_t i = range.begin; i < range.end; ++i) values[i] -= rate * (gradients[i] + decay * values[i]);
      continue;
    }
    const float ahead = options_.nesterov ? 1.0F : 0.0F;      // step = gradient + momentum * velocity
    const float along = options_.nesterov ? momentum : 1.0F;  // or the velocity itself
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      const float gradient = gradients[i] + decay * values[i];
      velocity[i] = momentum * velocity[i] + fresh * gradient;
      values[i] -= rate * (ahead * gradient + along * velocity[i]);
    }
  }
}

void Sgd::step_by_tensors(at::Tensor& values, const at::Tensor& gradients, double learning_rate) {
  const at::NoGradGuard guard;
  for (const Range& range : trainable_) {
    at::Tensor value = values.slice(0, range.begin, range.end);
    const at::Tensor gradient = gradients.slice(0, range.begin, range.end).add(value, options_.weight_decay);
    if (!velocity_.defined()) {
      value.sub_(gradient, learning_rate);
      continue;
    }
    at::Tensor velocity = velocity_.slice(0, range.begin, range.end);
    velocity.mul_(options_.momentum).add_(gradient, started_ ? 1 - options_.dampening : 1.0);
    value.sub_(options_.nesterov ? gradient.add(velocity, options_.momentum) : velocity, learning_rate);
  }
}

void Sgd::restore(const at::Tensor& velocity, bool started) {
  if (velocity.defined() != velocity_.defined() ||
      (velocity.defined() && (velocity.numel() != velocity_.numel() || velocity.scalar_type() != at::kFloat)))
    throw std::invalid_argument("the optimizer's stored state does not fit this model");
  if (velocity_.defined()) velocity_.copy_(velocity);
  started_ = started;
}

}  // namespace mnistcnn::train
