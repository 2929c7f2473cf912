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
#include "mnistcnn/train/flat_parameters.h"
#include "mnistcnn/train/float_batch.h"

namespace mnistcnn::train {
namespace {

// The share of a batch in running statistics that start from nothing; 0 where they never change.
double first_share(const network::Layer& layer) {
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

// The mean over all batches of what each leaves in running statistics that start from nothing.
at::Tensor mean_of_batches(FlatParameters& flat, engine::Engine& engine, std::span<const std::uint8_t> images,
                           std::int64_t count, const InputScaling& scaling, std::int64_t batch_size, std::uint64_t seed,
                           const std::function<void(std::int64_t)>& on_progress) {
  at::Tensor& running = flat.buffers;
  at::Tensor mean = at::zeros_like(running);
  const network::Shape& shape = engine.network().graph.input_shape;
  at::Tensor floats = at::empty({std::min(batch_size, count), shape[0], shape[1], shape[2]}, at::kFloat);
  const std::vector<std::int64_t> order = data::plain_order(count);
  for (std::int64_t batches = 0, begin = 0; begin < count; begin += batch_size) {
    const std::int64_t size = std::min(batch_size, count - begin);
    const std::span<const std::int64_t> indices(order.data() + begin, static_cast<std::size_t>(size));
    const at::Tensor batch = floats.narrow(0, 0, size);
    gather({images.data(), indices, scaling.scale, scaling.shift}, shape, batch.mutable_data_ptr<float>());
    running.zero_();
    flat.counters.zero_();
    engine.forward(flat.tensors, batch.to(running.device()), engine::Mode::kTrain,
                   {seed, static_cast<std::uint64_t>(batches)}, engine::Keep::kNothing);
    mean.lerp_(running, 1 / static_cast<double>(++batches));
    if (on_progress) on_progress(begin + size);
  }
  return mean;
}

}  // namespace

void recompute_statistics(const network::Tensors& tensors, engine::Engine& engine, std::span<const std::uint8_t> images,
                          std::int64_t count, const InputScaling& scaling, std::int64_t batch_size, std::uint64_t seed,
                          const std::function<void(std::int64_t)>& on_progress) {
  const network::Network& network = engine.network();
  if (network.analysis.buffers.empty()) return;
  const c10::InferenceMode ordinary(false);
  const at::NoGradGuard guard;
  FlatParameters flat(network.analysis, tensors);
  const at::Tensor before = flat.buffers.clone();
  // An exception leaves the model as it was.
  const at::Tensor mean = mean_of_batches(flat, engine, images, count, scaling, batch_size, seed, on_progress);
  for (const network::TensorSpec& spec : network.analysis.buffers) {
    const double share = first_share(network.graph.nodes[static_cast<std::size_t>(spec.node)].layer);
    const at::Tensor target = flat.buffers.narrow(0, spec.offset, spec.count);
    target.copy_(share == 0 ? before.narrow(0, spec.offset, spec.count)
                            : mean.narrow(0, spec.offset, spec.count).div(share));
  }
  flat.counters.fill_(step_count(count, batch_size));
  flat.write(tensors);
}

}  // namespace mnistcnn::train
