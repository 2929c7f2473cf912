#pragma once
#include <ATen/ops/empty.h>

#include <memory>
#include <vector>

#include "mnistcnn/engine/engine.h"

namespace mnistcnn::train {

// Fake engine that records the batches and steps. The loss of an image is its label.
class FakeEngine final : public engine::Engine {
 public:
  using Engine::Engine;
  std::vector<std::vector<std::int64_t>> batches;
  std::vector<std::uint64_t> steps;
  double extra_loss = 0;

  std::string_view name() const override { return "recorder"; }
  at::Tensor forward(const network::Tensors&, const at::Tensor& images, engine::Mode, engine::Randomness,
                     engine::Keep) override {
    return images;
  }
  at::Tensor backward(std::span<const at::Tensor>, std::span<const at::Tensor>, const at::Tensor& gradients) override {
    return gradients;
  }
  at::Tensor predict(const network::Tensors&, const engine::ImageBatch& batch) override {
    at::Tensor outputs = at::empty({static_cast<std::int64_t>(batch.indices.size()), 1}, at::kFloat);
    for (std::size_t i = 0; i < batch.indices.size(); ++i)
      outputs.mutable_data_ptr<float>()[i] = static_cast<float>(batch.indices[i]);
    return outputs;
  }
  // All gradients are -1, so a step of SGD with learning rate 1 adds 1 to every parameter.
  engine::StepResult step(const network::Tensors&, std::span<const at::Tensor> gradients,
                          const engine::ImageBatch& batch, std::span<const std::int64_t> labels, const engine::Loss&,
                          engine::Randomness randomness) override {
    for (const at::Tensor& each : gradients) each.fill_(-1);
    batches.emplace_back(batch.indices.begin(), batch.indices.end());
    steps.push_back(randomness.step);
    engine::StepResult result{extra_loss, 1};
    for (const std::int64_t label : labels) result.loss_sum += static_cast<double>(label);
    return result;
  }
  void parallel_for(int tasks, const common::Task& run) override { common::serial_for(tasks, run); }
};

inline std::shared_ptr<network::Network> one_linear_layer(std::int64_t outputs = 1) {
  auto network = std::make_shared<network::Network>();
  network->graph = {{1, 1, 1},
                    {{"flat", network::Flatten{}, {network::kInputImage}}, {"fc", network::Linear{outputs}, {0}}}};
  network->analysis = network::analyse(network->graph);
  return network;
}

}  // namespace mnistcnn::train
