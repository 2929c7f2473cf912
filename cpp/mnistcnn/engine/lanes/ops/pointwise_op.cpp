#include "mnistcnn/engine/lanes/ops/pointwise_op.h"

#include <cmath>

#include "mnistcnn/common/random.h"

namespace mnistcnn::engine::lanes {

MemoryRequirements PointwiseOp::memory_requirements() const {
  MemoryRequirements required;
  const std::int64_t channels = input().tensor->extent.channels;
  required.temporary = std::max(input().tensor->extent.elements() * kLanes, 3 * channels * kLanes);
  required.block = mask_size() + (layers_.pool == kMaxPool ? output_->extent.elements() * kLanes / 4 : 0);
  return required;
}

PointwiseKind PointwiseOp::kind() const {
  switch (layers_.activation) {
    case PointwiseLayers::Activation::kRelu:
      return layers_.activation_first ? kReluAffine : kAffineRelu;
    case PointwiseLayers::Activation::kLeaky:
      return layers_.activation_first ? kLeakyAffine : kAffineLeaky;
    case PointwiseLayers::Activation::kSilu:
      return kAffineSilu;
    case PointwiseLayers::Activation::kNone:
      break;
  }
  return kAffine;
}

PointwiseDropout PointwiseOp::dropout(const BatchContext& batch) const {
  return has_dropout(batch.training) ? layers_.dropout : kNoDropout;
}

// Dropout masks have one u16 for each position of the input or of the output, with one bit per image.
const Extent& PointwiseOp::mask_extent() const {
  return layers_.dropout == kDropoutAfterPool ? output_->extent : input().tensor->extent;
}

std::int64_t PointwiseOp::mask_size() const {
  return layers_.dropout == kNoDropout ? 0 : whole_vectors((mask_extent().elements() + 1) / 2);  // floats
}

float PointwiseOp::keep_scale() const {
  return layers_.dropout_probability < 1 ? static_cast<float>(1 / (1 - layers_.dropout_probability)) : 0.0f;
}

std::uint16_t* PointwiseOp::mask(const BlockContext& block) const {
  return reinterpret_cast<std::uint16_t*>(block.block_memory(offsets_.block));
}

// Positions of the maxima, u8 [positions of the output][16].
std::uint8_t* PointwiseOp::positions(const BlockContext& block) const {
  return reinterpret_cast<std::uint8_t*>(block.block_memory(offsets_.block + mask_size()));
}

// Return the channels of the block's part, with all rows.
MapRange PointwiseOp::range_of(const BlockContext& block) const {
  return {block.part.of(integer(input().tensor->extent.channels)), {0, output_rows()}};
}

// Rows that no window of the pool covers belong to the last row of the output.
IndexRange PointwiseOp::input_rows(IndexRange rows) const {
  const int step = layers_.pool ? 2 : 1, first = step * rows.first;
  const bool is_last = rows.first + rows.count == output_rows();
  return {first, is_last ? integer(input().tensor->extent.rows) - first : step * rows.count};
}

PointwiseArguments PointwiseOp::arguments(const BlockContext& block, MapRange range, View out) const {
  const Extent& in = input().tensor->extent;
  const auto [channels, rows] = range;
  const IndexRange in_rows = input_rows(rows);
  const int first = channels.first;
  PointwiseArguments args{};
  if (!output_in_producer_) {
    const View y = block.view(input().tensor->activation);
    args.y = y.data + first * y.plane + in_rows.first * in.columns * kLanes;
    args.y_plane = y.plane;
  }
  args.channels = channels.count;
  args.rows = in_rows.count;
  args.columns = static_cast<int>(in.columns);
  args.out_rows = rows.count;
  args.out_columns = integer(output_->extent.columns);
  args.scale = scale_.data() + first;
  args.shift = shift_.data() + first;
  args.slope = static_cast<float>(layers_.slope);
  if (dropout(block.batch) != kNoDropout) {
    const int first_row = layers_.dropout == kDropoutAfterPool ? rows.first : in_rows.first;
    args.mask_plane = mask_extent().positions();
    args.mask = mask(block) + first * args.mask_plane + first_row * mask_extent().columns;
  }
  args.keep_scale = keep_scale();
  if (layers_.pool == kMaxPool && block.batch.has_backward) {
    args.positions_plane = output_->extent.positions() * kLanes;
    args.positions = positions(block) + first * args.positions_plane + rows.first * output_->extent.columns * kLanes;
  }
  args.gradient_mean = gradient_mean_.data() + first;
  args.projection = projection_.data() + first;
  args.mean = mean_.data() + first;
  args.out = out.data + first * out.plane + rows.first * out.row;
  args.out_plane = out.plane;
  args.out_row = out.row;
  return args;
}

void PointwiseOp::compute(const BlockContext& block, View out) const {
  const ScopedTimer timer(block.batch, block.thread, category_inside_other(block));
  const PointwiseArguments args = arguments(block, range_of(block), out);
  block.batch.kernels->pointwise_forward[kind()][layers_.pool][dropout(block.batch)](args);
}

bool PointwiseOp::has_only_relu_and_pool() const {
  const bool is_relu_or_none = layers_.activation == PointwiseLayers::Activation::kNone ||
                               layers_.activation == PointwiseLayers::Activation::kRelu;
  return layers_.pool == kMaxPool && is_relu_or_none && !layers_.norm && !layers_.affine &&
         layers_.dropout != kDropoutBeforePool;
}

PooledOutputs PointwiseOp::pooled_outputs(const BlockContext& block) const {
  const bool drops = dropout(block.batch) != kNoDropout;
  return {block.view(output_->activation), positions(block), drops ? mask(block) : nullptr, keep_scale()};
}

// If another operation calls this one, its time belongs to this one: to the forward pass, or to the input gradients.
TimeCategory PointwiseOp::category_inside_other(const BlockContext& block) const {
  if (block.batch.stopwatch == nullptr) return {};
  const bool forward = block.batch.stopwatch->current(block.thread).pass == Pass::kForward;
  return time_category(index(), forward ? Pass::kForward : Pass::kInputGradients);
}

void PointwiseOp::prepare(const BatchContext& batch) {
  const std::int64_t channels = input().tensor->extent.channels;
  const double scale = layers_.affine ? layers_.affine->scale : 1, shift = layers_.affine ? layers_.affine->shift : 0;
  scale_.assign(to_size(channels), static_cast<float>(scale));
  shift_.assign(to_size(channels), static_cast<float>(shift));
  mean_.assign(to_size(channels), 0);
  inverse_.assign(to_size(channels), 1);
  if (layers_.norm) {
    moments_.resize(to_size(batch.blocks * channels * 2));
    sums_.resize(to_size(batch.blocks * channels * 2));
    if (!has_batch_statistics(batch.training))
      for (std::int64_t c = 0; c < channels; ++c)
        set_coefficients(batch, c, batch.buffers[to_size(layers_.norm->running_mean)][c],
                         batch.buffers[to_size(layers_.norm->running_variance)][c]);
  }
  gradient_mean_.assign(to_size(channels), 0);
  projection_.assign(to_size(channels), 0);
}

void PointwiseOp::set_coefficients(const BatchContext& batch, std::int64_t channel, double mean, double variance) {
  const PointwiseLayers::Norm& norm = *layers_.norm;
  const double inverse = 1 / std::sqrt(variance + norm.eps);
  const double weight = norm.weight >= 0 ? batch.parameters[to_size(norm.weight)][channel] : 1;
  const double bias = norm.bias >= 0 ? batch.parameters[to_size(norm.bias)][channel] : 0;
  const std::size_t c = to_size(channel);
  mean_[c] = static_cast<float>(mean);
  inverse_[c] = static_cast<float>(inverse);
  scale_[c] = static_cast<float>(weight * inverse);
  shift_[c] = static_cast<float>(bias - mean * weight * inverse);
}

void PointwiseOp::draw_mask(const BlockContext& block) const {
  const common::Stream stream(block.batch.randomness.seed, common::Purpose::kDropout, block.batch.randomness.step,
                              static_cast<std::uint64_t>(layers_.dropout_node));
  const common::DropoutKey key(stream);
  const Extent& extent = mask_extent();
  std::uint16_t* const masks = mask(block);
  const std::int64_t drawn = layers_.dropout_channels ? extent.channels : extent.elements();
  block.batch.kernels->dropout_mask(
      {key.low, key.high, static_cast<std::uint32_t>(block.batch.first_image + block.index * kLanes),
       common::DropoutKey::threshold(layers_.dropout_probability), static_cast<std::uint32_t>(drawn), masks});
  if (!layers_.dropout_channels) return;
  // In reverse: the masks of the remaining channels are at the front of the same array.
  for (std::int64_t c = extent.channels - 1; c >= 0; --c)
    std::fill_n(masks + c * extent.positions(), extent.positions(), std::uint16_t{masks[c]});
}

// Compute mean and sum of squared deviations of one block, per channel: combine the moments of the images.
void PointwiseOp::block_moments(const BlockContext& block) {
  const Extent& extent = input().tensor->extent;
  const IndexRange channels = range_of(block).channels;
  const View y = block.view(input().tensor->activation);
  float* const sums = block.thread_memory(offsets_.temporary);
  const std::int64_t size = channels.count * kLanes;
  block.batch.kernels->statistics[kind()]({y.data + channels.first * y.plane, y.plane, channels.count,
                                           static_cast<int>(extent.positions()), static_cast<float>(layers_.slope),
                                           sums, sums + size, sums + 2 * size});
  const double positions = static_cast<double>(extent.positions()), reciprocal = 1 / positions;
  const int images = block.images();
  for (int c = 0; c < channels.count; ++c) {
    const float *middle = sums + c * kLanes, *residual = middle + size, *squares = residual + size;
    double image_means[kLanes], total = 0, within = 0, between = 0;
    for (int i = 0; i < images; ++i) {
      const double distance = residual[i] * reciprocal;
      image_means[i] = middle[i] + distance;
      total += image_means[i];
      within += squares[i] - residual[i] * distance;
    }
    const double block_mean = total / images;
    for (int i = 0; i < images; ++i) between += (image_means[i] - block_mean) * (image_means[i] - block_mean);
    double* const to = moments_.data() + (block.index * extent.channels + channels.first + c) * 2;
    to[0] = block_mean;
    to[1] = within + positions * between;
  }
}

// Combine the moments of all blocks in block order, and update the running statistics.
void PointwiseOp::batch_moments(const BatchContext& batch) {
  const Extent& extent = input().tensor->extent;
  const PointwiseLayers::Norm& norm = *layers_.norm;
  const double positions = static_cast<double>(extent.positions()),
               count = static_cast<double>(batch.images) * positions;
  const auto images = [&](int block) { return static_cast<double>(BlockContext{batch, block, 0, 0}.images()); };
  double momentum = norm.momentum;
  if (batch.training && norm.counter >= 0) {
    const std::int64_t batches = ++*batch.counters[to_size(norm.counter)];
    if (momentum < 0) momentum = 1 / static_cast<double>(batches);
  }
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    const auto moment = [&](int block) { return moments_.data() + (block * extent.channels + c) * 2; };
    double mean = 0, squares = 0;
    for (int block = 0; block < batch.blocks; ++block) mean += moment(block)[0] * images(block);
    mean /= static_cast<double>(batch.images);
    for (int block = 0; block < batch.blocks; ++block) {
      const double distance = moment(block)[0] - mean;
      squares += moment(block)[1] + images(block) * positions * distance * distance;
    }
    set_coefficients(batch, c, mean, squares / count);
    if (!batch.training || norm.running_mean < 0) continue;
    float &running_mean = batch.buffers[to_size(norm.running_mean)][c],
          &running_variance = batch.buffers[to_size(norm.running_variance)][c];
    running_mean = static_cast<float>((1 - momentum) * running_mean + momentum * mean);
    running_variance = static_cast<float>((1 - momentum) * running_variance + momentum * squares / (count - 1));
  }
}

// The masks depend on nothing, so no part has to wait for the previous stage.
void PointwiseOp::add_dropout_masks(Program& program, bool training) const {
  if (!has_dropout(training)) return;
  program.for_each_part(
      [this](const BlockContext& block) noexcept {
        if (block.part.index == 0) draw_mask(block);
      },
      Barrier::kNone);
}

void PointwiseOp::add_forward(Program& program, bool training) {
  if (output_in_producer_) return;
  add_dropout_masks(program, training);
  if (has_batch_statistics(training)) {
    program.for_each_part([this](const BlockContext& block) noexcept { block_moments(block); });
    program.serial([this](const BatchContext& batch) noexcept { batch_moments(batch); });
  }
  if (output_->materialized)
    program.for_each_part(
        [this](const BlockContext& block) noexcept { compute(block, block.view(output_->activation)); });
}

// Compute the two sums of batch norm's backward over one block: of dz, and of dz * (a - mean).
void PointwiseOp::block_sums(const BlockContext& block) {
  const std::int64_t channels = input().tensor->extent.channels;
  const MapRange range = range_of(block);
  const IndexRange own = range.channels;
  PointwiseArguments args = arguments(block, range, block.view(output_->gradient));
  args.sum = block.thread_memory(offsets_.temporary);
  args.sum_of_products = args.sum + own.count * kLanes;
  block.batch.kernels->pointwise_sums[kind()][layers_.pool][dropout(block.batch)](args);
  const int images = block.images();
  for (int c = 0; c < own.count; ++c) {
    double sum = 0, products = 0;
    for (int i = 0; i < images; ++i) {
      sum += args.sum[c * kLanes + i];
      products += args.sum_of_products[c * kLanes + i];
    }
    double* const to = sums_.data() + (block.index * channels + own.first + c) * 2;
    to[0] = sum;
    to[1] = products;
  }
}

// Sum over the blocks; compute the gradients of weight and bias and the coefficients of the input gradient.
void PointwiseOp::batch_sums(const BatchContext& batch) {
  const Extent& extent = input().tensor->extent;
  const PointwiseLayers::Norm& norm = *layers_.norm;
  const double count = static_cast<double>(batch.images * extent.positions());
  const bool through_statistics = has_batch_statistics(batch.training);
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    double sum = 0, products = 0;
    for (int block = 0; block < batch.blocks; ++block) {
      sum += sums_[to_size((block * extent.channels + c) * 2)];
      products += sums_[to_size((block * extent.channels + c) * 2 + 1)];
    }
    const double inverse = inverse_[to_size(c)];
    products *= inverse;
    if (norm.weight >= 0) batch.gradients[to_size(norm.weight)][c] = static_cast<float>(products);
    if (norm.bias >= 0) batch.gradients[to_size(norm.bias)][c] = static_cast<float>(sum);
    if (!through_statistics) continue;
    gradient_mean_[to_size(c)] = static_cast<float>(sum / count);
    projection_[to_size(c)] = static_cast<float>(inverse * products / count);
  }
}

void PointwiseOp::compute_gradient(const BlockContext& block, MapRange range, View target) const {
  const ScopedTimer timer(block.batch, block.thread, category_inside_other(block));
  PointwiseArguments args = arguments(block, range, block.view(output_->gradient));
  args.y_gradient = target.data;
  args.y_gradient_plane = target.plane;
  args.y_gradient_row = target.row;
  const KernelTable& kernels = *block.batch.kernels;
  if (has_only_relu_and_pool()) return kernels.gradient_at_positions(args);
  const bool has_dz = layers_.norm && sums_replace_gradient(kind());
  kernels.pointwise_backward[has_dz ? kAffine : kind()][layers_.pool][has_dz ? kNoDropout : dropout(block.batch)](args);
  // Batch norm gives lanes without an image a gradient too. It must not enter the weight gradients of the layer before.
  if (layers_.norm && block.images() < kLanes)
    for (int c = 0; c < args.channels; ++c)
      for (int h = 0; h < args.rows; ++h)
        for (int w = 0; w < args.columns; ++w)
          std::fill(target.data + c * target.plane + h * target.row + w * kLanes + block.images(),
                    target.data + c * target.plane + h * target.row + (w + 1) * kLanes, 0.0f);
}

void PointwiseOp::input_gradient(const BlockContext& block) const {
  if (!input().needs_gradient(block.batch)) return;
  if (gradient_in_producer_ && !block.batch.image_gradients) return;
  write_gradient_of_part(block, input(), offsets_.temporary, [&](const BlockContext& part, View target) {
    const MapRange range = range_of(part);
    compute_gradient(part, range, from_channel(target, range.channels.first));
  });
}

void PointwiseOp::add_backward(Program& program) {
  if (layers_.norm) {
    program.for_each_part([this](const BlockContext& block) noexcept { block_sums(block); });
    program.serial([this](const BatchContext& batch) noexcept { batch_sums(batch); });
  }
  program.for_each_part([this](const BlockContext& block) noexcept { input_gradient(block); });
}

}  // namespace mnistcnn::engine::lanes
