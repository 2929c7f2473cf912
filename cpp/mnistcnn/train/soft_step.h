#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/parameters.h"
#include "mnistcnn/train/loss.h"
#include "mnistcnn/train/mixing.h"

namespace mnistcnn::train {

// A training step for losses and mixtures that an engine's own step doesn't know: images as floats, forward, our
// loss, backward. Its buffers serve all steps of an epoch.
class SoftStep {
 public:
  SoftStep(const network::Model& model, engine::Engine& engine, const Loss& loss, std::optional<Mixing> mixing)
      : model_(model), engine_(engine), loss_(loss), mixing_(mixing) {}

  engine::StepResult step(const engine::ImageBatch& batch, std::span<const std::int64_t> labels,
                          engine::Randomness randomness);

 private:
  at::Tensor gathered(const engine::ImageBatch& batch);
  at::Tensor mixed(const at::Tensor& images, std::span<const std::int64_t> labels, engine::Randomness randomness);

  const network::Model& model_;
  engine::Engine& engine_;
  const Loss& loss_;
  std::optional<Mixing> mixing_;
  at::Tensor images_, mixtures_, gradients_;  // on the CPU, as large as the largest batch
  MixingPlan plan_;
  std::vector<std::int64_t> partners_;  // labels
};

}  // namespace mnistcnn::train
