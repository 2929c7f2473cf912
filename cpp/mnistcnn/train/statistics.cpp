#include "mnistcnn/train/statistics.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <type_traits>
#include <variant>
#include <vector>

#include "mnistcnn/data/order.h"
#include "mnistcnn/train/epoch.h"
#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/normalize_batch.h"

namespace mnistcnn::train {
namespace {

std::size_t to_size(int index) { return static_cast<std::size_t>(index); }

// The changes of the running statistics by one forward pass in training mode, after a reset to 0.
struct Updates {
  std::vector<double> weights;        // per buffer: weight of the statistics of the batch; 0 if they are not updated
  std::vector<std::int64_t> batches;  // per counter: its increment
};

// Return the weight of the batch in one update of a norm's running statistics. Increment the counter as PyTorch does.
double update_weight(const network::Layer& layer, std::int64_t& batches) {
  return std::visit(
      [&](const auto& each) -> double {
        using Kind = std::decay_t<decltype(each)>;
        if constexpr (std::is_same_v<Kind, network::BatchNorm2d> || std::is_same_v<Kind, network::BatchNorm1d>) {
          ++batches;
          return each.momentum < 0 ? 1 / static_cast<double>(batches) : each.momentum;
        } else if constexpr (std::is_same_v<Kind, network::InstanceNorm2d>) {
          return std::max(each.momentum, 0.0);
        } else {
          return 0;
        }
      },
      layer);
}

// A norm that is used several times updates the same buffers at each use.
Updates updates_of(const network::Network& network) {
  const network::Analysis& analysis = network.analysis;
  Updates updates{std::vector<double>(analysis.buffers.size(), 0.0),
                  std::vector<std::int64_t>(analysis.counters.size(), 0)};
  for (std::size_t i = 0; i < analysis.nodes.size(); ++i) {
    const network::NodeAnalysis& node = analysis.nodes[i];
    if (node.counter < 0) continue;  // no running statistics
    const double weight = update_weight(network.graph.nodes[i].layer, updates.batches[to_size(node.counter)]);
    for (const network::Role role : {network::Role::kRunningMean, network::Role::kRunningVariance}) {
      double& total = updates.weights[to_size(node.tensors[static_cast<std::size_t>(role)])];
      total += (1 - total) * weight;
    }
  }
  return updates;
}

// Reset the running statistics to 0 before each batch, and return the mean of their values after each batch.
at::Tensor mean_of_batches(FlatParameters& flat, const ModelView& model, std::span<const std::uint8_t> images,
                           std::int64_t count, std::int64_t batch_size, std::uint64_t seed, const OnImages& on_images) {
  at::Tensor& running_statistics = flat.buffers;
  at::Tensor mean = at::zeros_like(running_statistics);
  const network::Shape& shape = model.network().graph.input_shape;
  at::Tensor floats = at::empty({std::min(batch_size, count), shape[0], shape[1], shape[2]}, at::kFloat);
  const std::vector<std::int64_t> order = data::plain_order(count);
  for (std::int64_t batches = 0, begin = 0; begin < count; begin += batch_size) {
    const std::int64_t size = std::min(batch_size, count - begin);
    const std::span<const std::int64_t> indices(order.data() + begin, static_cast<std::size_t>(size));
    const at::Tensor batch = floats.narrow(0, 0, size);
    normalize_batch({images.data(), indices, model.scaling.scale, model.scaling.shift}, shape,
                    network::elements<float>(batch));
    running_statistics.zero_();
    flat.counters.zero_();
    model.engine->forward(flat.tensors, batch.to(running_statistics.device()), engine::Mode::kTrain,
                          {seed, static_cast<std::uint64_t>(batches)}, engine::Keep::kNothing);
    mean.lerp_(running_statistics, 1 / static_cast<double>(++batches));
    if (on_images) on_images(begin + size);
  }
  return mean;
}

}  // namespace

void recompute_statistics(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                          std::int64_t batch_size, std::uint64_t seed, const OnImages& on_images) {
  const network::Network& network = model.network();
  const std::int64_t batches = step_count(count, batch_size);
  if (network.analysis.buffers.empty()) return;
  const c10::InferenceMode ordinary(false);
  const at::NoGradGuard guard;
  const network::Tensors tensors = model.tensors();
  FlatParameters flat(network.analysis, tensors);
  const at::Tensor buffers = flat.buffers.clone(), counters = flat.counters.clone();
  const at::Tensor mean = mean_of_batches(flat, model, images, count, batch_size, seed, on_images);
  const Updates updates = updates_of(network);
  for (std::size_t i = 0; i < updates.weights.size(); ++i) {
    const network::TensorSpec& spec = network.analysis.buffers[i];
    const auto part = [&](const at::Tensor& all) { return all.narrow(0, spec.offset, spec.count); };
    const double weight = updates.weights[i];
    part(flat.buffers).copy_(weight == 0 ? part(buffers) : part(mean).div(weight));
  }
  flat.counters.copy_(counters);
  for (std::size_t i = 0; i < updates.batches.size(); ++i) {
    const network::NodeAnalysis& owner = network.analysis.nodes[to_size(network.analysis.counters[i])];
    const int running_mean = owner.tensors[static_cast<std::size_t>(network::Role::kRunningMean)];
    if (updates.batches[i] > 0 && updates.weights[to_size(running_mean)] > 0)
      flat.tensors.counters[i].fill_(updates.batches[i] * batches);
  }
  flat.write(tensors);
}

}  // namespace mnistcnn::train
