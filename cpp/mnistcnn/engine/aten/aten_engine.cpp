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
#include "mnistcnn/engine/openmp_threads.h"

namespace mnistcnn::engine::aten {
namespace {

using at::Tensor;
using network::Role;
using network::Tensors;

constexpr std::int64_t kImagesPerThread = 64;  // minimum, so that the work outweighs the cost of a thread

// Return the images of the batch on the CPU, u8 [B, C, H, W].
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
  using Engine::Engine;

  std::string_view name() const override { return "aten"; }

  Tensor forward(const Tensors& tensors, const Tensor& images, Mode mode, Randomness randomness, Keep keep) override {
    check_images(images, tensors.device());
    check(tensors, images.size(0), mode == Mode::kTrain);
    const ScopedOpenMpThreads openmp_threads(threads());
    discard_saved();
    // Autograd cannot record in the caller's inference mode.
    const c10::InferenceMode mode_of_tensors(keep == Keep::kNothing && c10::InferenceMode::is_enabled());
    const at::AutoGradMode record(keep != Keep::kNothing);
    const Tensor own_images = images.detach().set_requires_grad(keep == Keep::kForParametersAndImages);
    const std::vector<Tensor> leaves = leaves_of(tensors, keep != Keep::kNothing);
    const Tensor outputs = run(tensors, leaves, own_images, mode, randomness);
    if (keep != Keep::kNothing) saved_ = {own_images, outputs, leaves};
    return outputs.detach();
  }

  Tensor backward(std::span<const Tensor>, std::span<const Tensor> gradients, const Tensor& output_gradients) override {
    if (!saved_.outputs.defined()) throw std::logic_error("backward must be called after forward, at most once");
    check_floats("output_gradients", output_gradients, saved_.outputs.sizes(), saved_.outputs.device());
    check_gradients(gradients);
    const ScopedOpenMpThreads openmp_threads(threads());
    const Saved saved = std::exchange(saved_, {});
    accumulate_into(gradients, saved.leaves);
    if (saved.outputs.requires_grad()) torch::autograd::backward({saved.outputs}, {output_gradients});
    return saved.images.grad();
  }

  Tensor predict(const Tensors& tensors, const ImageBatch& batch) override {
    const at::NoGradGuard guard;
    check(tensors, static_cast<std::int64_t>(batch.indices.size()), false);
    const ScopedOpenMpThreads openmp_threads(threads());
    discard_saved();
    return run(tensors, leaves_of(tensors, false), normalized(batch, tensors.device()), Mode::kEvaluate, {});
  }

  StepResult step(const Tensors& tensors, std::span<const Tensor> gradients, const ImageBatch& batch,
                  std::span<const std::int64_t> labels, const Loss& loss, Randomness randomness) override {
    const c10::InferenceMode mode_of_tensors(false);
    const at::AutoGradMode record(true);
    const at::Device device = tensors.device();
    const auto count = static_cast<std::int64_t>(labels.size());
    check(tensors, count, true);
    check_gradients(gradients);
    const ScopedOpenMpThreads openmp_threads(threads());
    discard_saved();
    const Tensor targets =
        at::from_blob(const_cast<std::int64_t*>(labels.data()), {count}, at::kLong).to(device);  // read only
    const std::vector<Tensor> leaves = leaves_of(tensors, true);
    const Tensor outputs = run(tensors, leaves, normalized(batch, device), Mode::kTrain, randomness);
    const Tensor loss_mean = mean_loss(outputs, targets, loss);
    accumulate_into(gradients, leaves);
    if (loss_mean.requires_grad()) torch::autograd::backward({loss_mean}, {});
    const at::NoGradGuard guard;
    return {loss_mean.item<double>() * static_cast<double>(count),
            outputs.argmax(1).eq(targets).sum().item<std::int64_t>()};
  }

  void parallel_for(int tasks, const common::Task& run) override {
    at::parallel_for(0, tasks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) run(static_cast<int>(task));
    });
  }

 private:
  // Autograd graph of the latest forward, for backward.
  struct Saved {
    Tensor images, outputs;
    std::vector<Tensor> leaves;
  };

  void discard_saved() { saved_ = {}; }

  void check(const Tensors& tensors, std::int64_t images, bool training) const {
    network::check(tensors, network().analysis);
    network::check_batch(network().graph, network().analysis, images, training);
  }

  // Return the leaf tensors of autograd. They share the memory of contiguous parameters; others are copied.
  std::vector<Tensor> leaves_of(const Tensors& tensors, bool record) const {
    std::vector<Tensor> leaves;
    for (const Tensor& each : tensors.parameters)
      leaves.push_back(each.detach().contiguous().set_requires_grad(record));
    return leaves;
  }

  static void accumulate_into(std::span<const Tensor> gradients, const std::vector<Tensor>& leaves) {
    const at::NoGradGuard guard;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const Tensor gradient = gradients[i].detach();
      gradient.zero_();
      Tensor leaf = leaves[i];
      leaf.mutable_grad() = gradient.view(leaf.sizes());
    }
  }

  Tensor normalized(const ImageBatch& batch, const at::Device& device) const {
    return gather(batch, network().graph.input_shape)
        .to(device)
        .to(at::kFloat)
        .mul_(channel_constants(batch.scale, device))
        .add_(channel_constants(batch.shift, device));
  }

  NodeContext context_of(int node, const Tensors& tensors, const std::vector<Tensor>& leaves, Mode mode,
                         Randomness randomness) const {
    const network::NodeAnalysis& node_analysis = network().analysis.nodes[static_cast<std::size_t>(node)];
    const auto index_of = [&](Role role) { return node_analysis.tensors[static_cast<std::size_t>(role)]; };
    const auto leaf = [&](Role role) {
      return index_of(role) < 0 ? Tensor() : leaves[static_cast<std::size_t>(index_of(role))];
    };
    // variable_data has its own version counter. Otherwise, if a norm is used twice, autograd would report the second
    // update of the running statistics as an in-place modification.
    const auto buffer = [&](Role role) {
      return index_of(role) < 0 ? Tensor() : tensors.buffers[static_cast<std::size_t>(index_of(role))].variable_data();
    };
    const Tensor num_batches_tracked =
        node_analysis.counter < 0 ? Tensor()
                                  : tensors.counters[static_cast<std::size_t>(node_analysis.counter)].variable_data();
    return {node,
            leaf(Role::kWeight),
            leaf(Role::kBias),
            buffer(Role::kRunningMean),
            buffer(Role::kRunningVariance),
            num_batches_tracked,
            mode,
            randomness};
  }

  Tensor run(const Tensors& tensors, const std::vector<Tensor>& leaves, const Tensor& images, Mode mode,
             Randomness randomness) const {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(
        c10::autocast_dispatch_keyset);  // compute in float32 even under autocast
    const std::vector<network::Node>& nodes = network().graph.nodes;
    std::vector<Tensor> values(nodes.size());
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < values.size(); ++i) {
      inputs.clear();
      for (const int input : nodes[i].inputs)
        inputs.push_back(input == network::kInputImage ? images : values[static_cast<std::size_t>(input)]);
      values[i] =
          layer_forward(nodes[i].layer, inputs, context_of(static_cast<int>(i), tensors, leaves, mode, randomness));
    }
    return values.back();
  }

  Saved saved_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(std::shared_ptr<const network::Network> network, int threads) {
  return std::make_unique<AtenEngine>(std::move(network), threads);
}

}  // namespace mnistcnn::engine::aten
