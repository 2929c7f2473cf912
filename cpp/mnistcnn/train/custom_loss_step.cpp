#include "mnistcnn/train/custom_loss_step.h"

#include <ATen/ops/empty.h>

#include "mnistcnn/train/normalize_batch.h"

namespace mnistcnn::train {
namespace {

using network::elements;

// Return the first `count` rows of the buffer. Reallocate it if it is too small.
at::Tensor rows(at::Tensor& buffer, std::int64_t count, const network::Shape& shape) {
  if (!buffer.defined() || buffer.size(0) < count) {
    std::vector<std::int64_t> sizes{count};
    sizes.insert(sizes.end(), shape.begin(), shape.end());
    buffer = at::empty(sizes, at::kFloat);
  }
  return buffer.narrow(0, 0, count);
}

}  // namespace

at::Tensor CustomLossStep::normalize_images(const engine::ImageBatch& batch) {
  at::Tensor images =
      rows(images_, static_cast<std::int64_t>(batch.indices.size()), engine_.network().graph.input_shape);
  normalize_batch(batch, engine_.network().graph.input_shape, elements<float>(images));
  return images;
}

at::Tensor CustomLossStep::mix_images(const at::Tensor& images, std::span<const std::int64_t> labels,
                                      engine::Randomness randomness) {
  const network::Shape& shape = engine_.network().graph.input_shape;
  plan_ = draw(*mixing_, randomness.seed, randomness.step, images.size(0), shape[1], shape[2]);
  partners_.clear();
  for (const std::int64_t partner : plan_.partners) partners_.push_back(labels[static_cast<std::size_t>(partner)]);
  at::Tensor result = rows(mixtures_, images.size(0), shape);
  mix(*mixing_, plan_, shape[0], shape[1], shape[2], elements<const float>(images), elements<float>(result));
  return result;
}

engine::StepResult CustomLossStep::step(FlatParameters& flat, const engine::ImageBatch& batch,
                                        std::span<const std::int64_t> labels, engine::Randomness randomness) {
  at::Tensor images = normalize_images(batch);
  if (mixing_) images = mix_images(images, labels, randomness);
  const at::Device device = flat.values.device();
  const at::Tensor inputs = images.to(device);
  const at::Tensor device_outputs =
      engine_.forward(flat.tensors, inputs, engine::Mode::kTrain, randomness, engine::Keep::kForParameters);
  const at::Tensor outputs = device_outputs.cpu().contiguous();
  at::Tensor gradients = rows(gradients_, outputs.size(0), {outputs.size(1)});
  Targets targets{.labels = labels};
  if (mixing_) {
    targets.partners = partners_;
    targets.share = plan_.share;
  }
  std::vector<float> probabilities;
  if (!loss_.distillation.teachers.empty()) {
    probabilities = teacher_probabilities(loss_.distillation, teachers_, inputs, batch.scale, batch.shift);
    targets.teacher_probabilities = probabilities;
  }
  const engine::StepResult result =
      evaluate(loss_, elements<const float>(outputs), targets, elements<float>(gradients));
  engine_.backward(flat.tensors.parameters, flat.gradient_tensors, gradients.to(device));
  return result;
}

}  // namespace mnistcnn::train
