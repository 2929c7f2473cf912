#include "mnistcnn/engine/aten/aten_engine.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/nll_loss.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/aten/layer_forward.h"

namespace mnistcnn::engine::aten {
namespace {

using at::Tensor;
using network::Model;
using network::Role;

constexpr std::int64_t kImagesPerThread = 64;  // fewer are not worth another thread

// The batch's images as bytes on the CPU, u8 [B, C, H, W].
Tensor gather(const ImageBatch& batch, const network::Shape& shape) {
  const auto count = static_cast<std::int64_t>(batch.indices.size());
  const auto size = static_cast<std::size_t>(network::element_count(shape));
  Tensor bytes = at::empty({count, shape[0], shape[1], shape[2]}, at::kByte);
  auto* const target = bytes.mutable_data_ptr<std::uint8_t>();
  const auto read = [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::byte> scratch(batch.source == nullptr ? 0 : batch.source->scratch_bytes());
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t index = batch.indices[static_cast<std::size_t>(i)];
      std::uint8_t* const image = target + static_cast<std::size_t>(i) * size;
      if (batch.source == nullptr)
        std::memcpy(image, batch.images + static_cast<std::size_t>(index) * size, size);
      else
        batch.source->read(index, image, scratch.data());
    }
  };
  at::parallel_for(0, count, kImagesPerThread, read);
  return bytes;
}

Tensor channel_constants(std::span<const float> values, const at::Device& device) {
  Tensor constants = at::empty({1, static_cast<std::int64_t>(values.size()), 1, 1}, at::kFloat);
  std::copy(values.begin(), values.end(), constants.mutable_data_ptr<float>());
  return constants.to(device);
}

Tensor mean_loss(const Tensor& outputs, const Tensor& labels, const Loss& loss) {
  if (loss.kind == LossKind::kCrossEntropy)
    return at::cross_entropy_loss(outputs, labels, {}, at::Reduction::Mean, -100, loss.label_smoothing);
  const Tensor likelihood = at::nll_loss(outputs, labels);
  if (loss.label_smoothing == 0) return likelihood;
  return likelihood * (1 - loss.label_smoothing) - outputs.mean() * loss.label_smoothing;
}

class AtenEngine final : public Engine {
 public:
  explicit AtenEngine(Model& model) : model_(model) {
    network::check(model.parameters, model.analysis);
    const network::Parameters& memory = model.parameters;
    contexts_.reserve(model.graph.nodes.size());
    for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
      const int node = static_cast<int>(i);
      contexts_.push_back({node,
                           model.analysis.nodes[i],
                           leaf(node, Role::kWeight),
                           leaf(node, Role::kBias),
                           buffer(node, Role::kRunningMean),
                           buffer(node, Role::kRunningVariance),
                           {},
                           {},
                           {}});
    }
    for (std::size_t i = 0; i < model.analysis.counters.size(); ++i)
      contexts_[static_cast<std::size_t>(model.analysis.counters[i])].batches_seen =
          memory.counters.select(0, static_cast<std::int64_t>(i));
  }

  std::string_view name() const override { return "aten"; }

  Tensor forward(const Tensor& images, Mode mode, Randomness randomness, Keep keep) override {
    network::check_batch(model_.graph, model_.analysis, images.size(0), mode == Mode::kTrain);
    // A record can't be made in the caller's inference mode.
    const c10::InferenceMode mode_of_tensors(keep == Keep::kNothing && c10::InferenceMode::is_enabled());
    const at::AutoGradMode record(keep != Keep::kNothing);
    images_ = images.detach().set_requires_grad(keep == Keep::kForParametersAndImages);
    outputs_ = run(images_, mode, randomness);
    return outputs_.detach();
  }

  Tensor backward(const Tensor& output_gradients) override {
    if (!outputs_.defined()) throw std::logic_error("backward needs a forward before it");
    check_output_gradients(output_gradients, outputs_.sizes());
    model_.parameters.gradients.zero_();
    if (outputs_.requires_grad()) torch::autograd::backward({outputs_}, {output_gradients});
    outputs_.reset();
    return std::exchange(images_, {}).grad();
  }

  Tensor predict(const ImageBatch& batch) override {
    const at::NoGradGuard guard;
    network::check_batch(model_.graph, model_.analysis, static_cast<std::int64_t>(batch.indices.size()), false);
    return run(normalised(batch), Mode::kEvaluate, {});
  }

  StepResult step(const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness) override {
    const c10::InferenceMode mode_of_tensors(false);
    const at::AutoGradMode record(true);
    const at::Device device = model_.parameters.values.device();
    const auto count = static_cast<std::int64_t>(labels.size());
    network::check_batch(model_.graph, model_.analysis, count, true);
    const Tensor targets =
        at::from_blob(const_cast<std::int64_t*>(labels.data()), {count}, at::kLong).to(device);  // read only
    const Tensor outputs = run(normalised(batch), Mode::kTrain, randomness);
    const Tensor loss_mean = mean_loss(outputs, targets, loss);
    model_.parameters.gradients.zero_();
    if (loss_mean.requires_grad()) torch::autograd::backward({loss_mean}, {});
    const at::NoGradGuard guard;
    return {loss_mean.item<double>() * static_cast<double>(count),
            outputs.argmax(1).eq(targets).sum().item<std::int64_t>()};
  }

 private:
  // A parameter as autograd's leaf: its memory and its gradient's are the model's.
  Tensor leaf(int node, Role role) const {
    const network::TensorSpec* spec = model_.analysis.find(node, role);
    if (spec == nullptr) return {};
    Tensor result = network::view(model_.parameters.values.detach(), *spec).detach().set_requires_grad(true);
    result.mutable_grad() = network::view(model_.parameters.gradients.detach(), *spec);
    return result;
  }

  Tensor buffer(int node, Role role) const {
    const network::TensorSpec* spec = model_.analysis.find(node, role);
    // variable_data: with a version counter of its own, so that autograd doesn't take one norm's update for another's.
    return spec == nullptr ? Tensor() : network::view(model_.parameters.buffers, *spec).variable_data();
  }

  Tensor normalised(const ImageBatch& batch) const {
    const at::Device device = model_.parameters.values.device();
    return gather(batch, model_.graph.input_shape)
        .to(device)
        .to(at::kFloat)
        .mul_(channel_constants(batch.scale, device))
        .add_(channel_constants(batch.shift, device));
  }

  Tensor run(const Tensor& images, Mode mode, Randomness randomness) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);  // always float32
    std::vector<Tensor> values(model_.graph.nodes.size());
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const network::Node& node = model_.graph.nodes[i];
      inputs.clear();
      for (const int input : node.inputs)
        inputs.push_back(input == network::kInputImage ? images : values[static_cast<std::size_t>(input)]);
      contexts_[i].mode = mode;
      contexts_[i].randomness = randomness;
      values[i] = layer_forward(node.layer, inputs, contexts_[i]);
    }
    return values.back();
  }

  Model& model_;
  std::vector<NodeContext> contexts_;
  Tensor images_, outputs_;  // of the latest forward, with autograd's record of it
};

}  // namespace

std::unique_ptr<Engine> make_engine(Model& model) { return std::make_unique<AtenEngine>(model); }

}  // namespace mnistcnn::engine::aten
