#include "mnistcnn/engine/lanes/ops/chain_op.h"

#include <cmath>

#include "mnistcnn/common/random.h"

namespace mnistcnn::engine::lanes {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Needs ChainOp::needs() const {
  Needs needs;
  const std::int64_t channels = input().value->extent.channels;
  needs.temporary = std::max(input().value->extent.elements() * kLanes, 3 * channels * kLanes);
  if (layers_.drop == kDropBeforePool) needs.block = (input().value->extent.elements() + 1) / 2;
  if (layers_.drop == kDropAfterPool) needs.block = (output_->extent.elements() + 1) / 2;
  return needs;
}

ChainKind ChainOp::kind() const {
  switch (layers_.activation) {
    case ChainLayers::Activation::kRelu:
      return layers_.activation_first ? kReluAffine : kAffineRelu;
    case ChainLayers::Activation::kLeaky:
      return layers_.activation_first ? kLeakyAffine : kAffineLeaky;
    case ChainLayers::Activation::kNone:
      break;
  }
  return kAffine;
}

ChainDrop ChainOp::drop(const Run& run) const { return drops(run.training) ? layers_.drop : kNoDrop; }

ChainTile ChainOp::tile(const BlockRun& at) const {
  const Extent& in = input().value->extent;
  const View y = at.view(input().value->activation);
  ChainTile t{};
  t.y = y.data;
  t.y_plane = y.plane;
  t.channels = static_cast<int>(in.channels);
  t.rows = static_cast<int>(in.rows);
  t.columns = static_cast<int>(in.columns);
  t.out_rows = static_cast<int>(layers_.pool ? in.rows / 2 : in.rows);
  t.out_columns = static_cast<int>(layers_.pool ? in.columns / 2 : in.columns);
  t.scale = scale_.data();
  t.shift = shift_.data();
  t.slope = static_cast<float>(layers_.slope);
  t.mask = reinterpret_cast<const std::uint16_t*>(at.run.block_memory + at.slot * at.run.block_size + places_.block);
  t.keep_scale = layers_.drop_probability < 1 ? static_cast<float>(1 / (1 - layers_.drop_probability)) : 0.0f;
  t.gradient_mean = gradient_mean_.data();
  t.projection = projection_.data();
  t.mean = mean_.data();
  return t;
}

void ChainOp::compute(const BlockRun& at, View out) const {
  const Timed timed(at.run, at.thread, work_inside(at));
  ChainTile t = tile(at);
  t.out = out.data;
  t.out_plane = out.plane;
  t.out_row = out.row;
  at.run.kernels->chain_forward[kind()][layers_.pool][drop(at.run)](t);
}

// A convolution that asks for it, in its forward or its backward, does so on this chain's account.
Work ChainOp::work_inside(const BlockRun& at) const {
  if (at.run.stopwatch == nullptr) return {};
  const bool forward = at.run.stopwatch->current(at.thread).pass == Pass::kForward;
  return work_of(number(), forward ? Pass::kForward : Pass::kInputGradients);
}

void ChainOp::prepare(const Run& run) {
  const std::int64_t channels = input().value->extent.channels;
  const double scale = layers_.affine ? layers_.affine->scale : 1, shift = layers_.affine ? layers_.affine->shift : 0;
  scale_.assign(index(channels), static_cast<float>(scale));
  shift_.assign(index(channels), static_cast<float>(shift));
  mean_.assign(index(channels), 0);
  inverse_.assign(index(channels), 1);
  if (layers_.norm) {
    moments_.resize(index(run.blocks * channels * 2));
    sums_.resize(index(run.blocks * channels * 2));
    if (!has_batch_statistics(run.training))
      for (std::int64_t c = 0; c < channels; ++c)
        set_coefficients(run, c, run.buffers[index(layers_.norm->running_mean)][c],
                         run.buffers[index(layers_.norm->running_variance)][c]);
  }
  gradient_mean_.assign(index(channels), 0);
  projection_.assign(index(channels), 0);
}

void ChainOp::set_coefficients(const Run& run, std::int64_t channel, double mean, double variance) {
  const ChainLayers::Norm& norm = *layers_.norm;
  const double inverse = 1 / std::sqrt(variance + norm.eps);
  const double weight = norm.weight >= 0 ? run.values[index(norm.weight)][channel] : 1;
  const double bias = norm.bias >= 0 ? run.values[index(norm.bias)][channel] : 0;
  const std::size_t c = index(channel);
  mean_[c] = static_cast<float>(mean);
  inverse_[c] = static_cast<float>(inverse);
  scale_[c] = static_cast<float>(weight * inverse);
  shift_[c] = static_cast<float>(bias - mean * weight * inverse);
}

void ChainOp::make_mask(const BlockRun& at) const {
  const common::Stream stream(at.run.randomness.seed, common::Purpose::kDropout, at.run.randomness.step,
                              static_cast<std::uint64_t>(layers_.drop_node));
  const common::DropoutKey key(stream);
  const Extent& extent = layers_.drop == kDropAfterPool ? output_->extent : input().value->extent;
  std::uint16_t* mask =
      reinterpret_cast<std::uint16_t*>(at.run.block_memory + at.slot * at.run.block_size + places_.block);
  const std::int64_t drawn = layers_.drop_channels ? extent.channels : extent.elements();
  at.run.kernels->dropout_mask({key.low, key.high, static_cast<std::uint32_t>(at.block * kLanes),
                                common::DropoutKey::threshold(layers_.drop_probability),
                                static_cast<std::uint32_t>(drawn), mask});
  if (!layers_.drop_channels) return;
  for (std::int64_t c = extent.channels - 1; c >= 0; --c)  // from behind: the channels' masks lie in front
    std::fill_n(mask + c * extent.positions(), extent.positions(), std::uint16_t{mask[c]});
}

// Mean and sum of squared deviations of this block, per channel.
void ChainOp::block_moments(const BlockRun& at) {
  const Extent& extent = input().value->extent;
  const View y = at.view(input().value->activation);
  float* const sums = thread_memory(at, places_.temporary);
  const std::int64_t size = extent.channels * kLanes;
  at.run.kernels->statistics[kind()]({y.data, y.plane, static_cast<int>(extent.channels),
                                      static_cast<int>(extent.positions()), static_cast<float>(layers_.slope), sums,
                                      sums + size, sums + 2 * size});
  const double positions = static_cast<double>(extent.positions()), reciprocal = 1 / positions;
  const int live = at.live();
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    const float *middle = sums + c * kLanes, *residual = middle + size, *squares = residual + size;
    double own[kLanes], total = 0, within = 0, between = 0;
    for (int i = 0; i < live; ++i) {
      const double distance = residual[i] * reciprocal;
      own[i] = middle[i] + distance;
      total += own[i];
      within += squares[i] - residual[i] * distance;
    }
    const double centre = total / live;
    for (int i = 0; i < live; ++i) between += (own[i] - centre) * (own[i] - centre);
    double* const to = moments_.data() + (at.block * extent.channels + c) * 2;
    to[0] = centre;
    to[1] = within + positions * between;
  }
}

void ChainOp::batch_moments(const Run& run) {
  const Extent& extent = input().value->extent;
  const ChainLayers::Norm& norm = *layers_.norm;
  const double positions = static_cast<double>(extent.positions()), count = static_cast<double>(run.images) * positions;
  const auto images = [&](int block) { return static_cast<double>(BlockRun{run, block, 0, 0}.live()); };
  double momentum = norm.momentum;
  if (run.training && norm.counter >= 0) {
    const std::int64_t batches = ++*run.counters[index(norm.counter)];
    if (momentum < 0) momentum = 1 / static_cast<double>(batches);
  }
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    const auto moment = [&](int block) { return moments_.data() + (block * extent.channels + c) * 2; };
    double mean = 0, squares = 0;
    for (int block = 0; block < run.blocks; ++block) mean += moment(block)[0] * images(block);
    mean /= static_cast<double>(run.images);
    for (int block = 0; block < run.blocks; ++block) {
      const double distance = moment(block)[0] - mean;
      squares += moment(block)[1] + images(block) * positions * distance * distance;
    }
    set_coefficients(run, c, mean, squares / count);
    if (!run.training || norm.running_mean < 0) continue;
    float &running_mean = run.buffers[index(norm.running_mean)][c],
          &running_variance = run.buffers[index(norm.running_variance)][c];
    running_mean = static_cast<float>((1 - momentum) * running_mean + momentum * mean);
    running_variance = static_cast<float>((1 - momentum) * running_variance + momentum * squares / (count - 1));
  }
}

void ChainOp::add_forward(Program& program, bool training) {
  if (has_batch_statistics(training)) {
    program.blocks([this](const BlockRun& at) { block_moments(at); });
    program.once([this](const Run& run) { batch_moments(run); });
  }
  if (drops(training)) program.blocks([this](const BlockRun& at) { make_mask(at); });
  if (!lazy_) program.blocks([this](const BlockRun& at) { compute(at, at.view(output_->activation)); });
}

void ChainOp::block_sums(const BlockRun& at) {
  const std::int64_t channels = input().value->extent.channels;
  float* const sums = thread_memory(at, places_.temporary);
  const View gradient = at.view(output_->gradient);
  ChainTile t = tile(at);
  t.out = gradient.data;
  t.out_plane = gradient.plane;
  t.out_row = gradient.row;
  t.sum = sums;
  t.sum_of_products = sums + channels * kLanes;
  at.run.kernels->chain_sums[kind()][layers_.pool][drop(at.run)](t);
  const int live = at.live();
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0, products = 0;
    for (int i = 0; i < live; ++i) {
      sum += t.sum[c * kLanes + i];
      products += t.sum_of_products[c * kLanes + i];
    }
    double* const to = sums_.data() + (at.block * channels + c) * 2;
    to[0] = sum;
    to[1] = products;
  }
}

void ChainOp::batch_sums(const Run& run) {
  const Extent& extent = input().value->extent;
  const ChainLayers::Norm& norm = *layers_.norm;
  const double count = static_cast<double>(run.images * extent.positions());
  const bool through_statistics = has_batch_statistics(run.training);
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    double sum = 0, products = 0;
    for (int block = 0; block < run.blocks; ++block) {
      sum += sums_[index((block * extent.channels + c) * 2)];
      products += sums_[index((block * extent.channels + c) * 2 + 1)];
    }
    const double inverse = inverse_[index(c)];
    products *= inverse;
    if (norm.weight >= 0) run.gradients[index(norm.weight)][c] = static_cast<float>(products);
    if (norm.bias >= 0) run.gradients[index(norm.bias)][c] = static_cast<float>(sum);
    if (!through_statistics) continue;
    gradient_mean_[index(c)] = static_cast<float>(sum / count);
    projection_[index(c)] = static_cast<float>(inverse * products / count);
  }
}

void ChainOp::input_gradient(const BlockRun& at) const {
  if (!input().wants_gradient(at.run)) return;
  const View gradient = at.view(output_->gradient);
  give_gradient(at, input(), places_.temporary, [&](View target) {
    ChainTile t = tile(at);
    t.out = gradient.data;
    t.out_plane = gradient.plane;
    t.out_row = gradient.row;
    t.y_gradient = target.data;
    t.y_gradient_plane = target.plane;
    t.y_gradient_row = target.row;
    at.run.kernels->chain_backward[kind()][layers_.pool][drop(at.run)](t);
    // Batch norm gives a gradient even to images that are not there.
    if (layers_.norm && at.live() < kLanes)
      for (int c = 0; c < t.channels; ++c)
        for (int h = 0; h < t.rows; ++h)
          for (int w = 0; w < t.columns; ++w)
            std::fill(target.data + c * target.plane + h * target.row + w * kLanes + at.live(),
                      target.data + c * target.plane + h * target.row + (w + 1) * kLanes, 0.0f);
  });
}

void ChainOp::add_backward(Program& program) {
  if (layers_.norm) {
    program.blocks([this](const BlockRun& at) { block_sums(at); });
    program.once([this](const Run& run) { batch_sums(run); });
  }
  program.blocks([this](const BlockRun& at) { input_gradient(at); });
}

}  // namespace mnistcnn::engine::lanes
