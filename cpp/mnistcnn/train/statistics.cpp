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

// Return the weight of a batch in the running statistics after a reset; 0 if they are never updated.
double batch_weight(const network::Layer& layer) {
  return std::visit(
      [](const auto& each) -> double {
        using Kind = std::decay_t<decltype(each)>;
        if constexpr (std::is_same_v<Kind, network::BatchNorm2d> || std::is_same_v<Kind, network::BatchNorm1d>)
          return each.momentum < 0 ? 1 : each.momentum;
        else if constexpr (std::is_same_v<Kind, network::InstanceNorm2d>)
          return std::max(each.momentum, 0.0);
        else
          return 0;
      },
      layer);
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
  const at::Tensor before = flat.buffers.clone();
  const at::Tensor mean = mean_of_batches(flat, model, images, count, batch_size, seed, on_images);
  for (const network::TensorSpec& spec : network.analysis.buffers) {
    const double weight = batch_weight(network.graph.nodes[static_cast<std::size_t>(spec.node)].layer);
    const at::Tensor target = flat.buffers.narrow(0, spec.offset, spec.count);
    target.copy_(weight == 0 ? before.narrow(0, spec.offset, spec.count)
                             : mean.narrow(0, spec.offset, spec.count).div(weight));
  }
  flat.counters.fill_(batches);
  flat.write(tensors);
}

}  // namespace mnistcnn::train
