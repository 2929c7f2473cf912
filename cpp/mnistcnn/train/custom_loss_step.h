#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"
#include "mnistcnn/train/outputs.h"

namespace mnistcnn::train {

// Training step for losses that engines do not compute themselves: class weights, distillation, mixup and CutMix. It
// normalizes and mixes the images, and computes the loss between the engine's forward and backward. Buffers are reused
// for all steps of an epoch.
class CustomLossStep {
 public:
  CustomLossStep(engine::Engine& engine, const TrainingLoss& loss, std::optional<Mixing> mixing)
      : engine_(engine), loss_(loss), mixing_(mixing) {
    check_loss(loss, engine.network().graph.input_shape, class_count(engine.network()));
    read_teachers();
  }

  // Read the tensors of the teachers again. Must be called after a callback, which may have replaced tensors.
  void read_teachers() { teachers_ = tensors_of_teachers(loss_.distillation); }

  engine::StepResult step(FlatParameters& flat, const engine::ImageBatch& batch, std::span<const std::int64_t> labels,
                          engine::Randomness randomness);

 private:
  at::Tensor normalize_images(const engine::ImageBatch& batch);
  at::Tensor mix_images(const at::Tensor& images, std::span<const std::int64_t> labels, engine::Randomness randomness);

  engine::Engine& engine_;
  const TrainingLoss& loss_;
  std::optional<Mixing> mixing_;
  std::vector<network::Tensors> teachers_;
  at::Tensor images_, mixtures_, gradients_;  // on the CPU, with the size of the largest batch so far
  MixingPlan plan_;
  std::vector<std::int64_t> partners_;  // labels of the partners
};

}  // namespace mnistcnn::train
