#include "mnistcnn/engine/lanes/execution/batch_io.h"

#include <array>

#include "mnistcnn/engine/lanes/layout/convert.h"

namespace mnistcnn::engine::lanes {
namespace {

// Index in the batch of the image in a lane.
std::int64_t image_of(const BlockContext& block, int lane) {
  return std::int64_t{block.index} * kLanes + (lane < block.images() ? lane : 0);
}

// Offset of a block in an array [images][elements].
std::int64_t offset_of(const BlockContext& block, const Extent& extent) {
  return std::int64_t{block.index} * kLanes * extent.elements();
}

}  // namespace

void BatchIo::begin(const CallArguments& arguments, int blocks, int threads) {
  arguments_ = arguments;
  if (arguments.batch.source != nullptr)
    staging_.reserve(threads, plan_.image->extent.elements(), *arguments.batch.source);
  results_.assign(static_cast<std::size_t>(blocks), {});
}

void BatchIo::gather_images(const BlockContext& block) {
  const Extent& extent = plan_.image->extent;
  const View view = block.view(plan_.image->activation);
  const ImageBatch& batch = arguments_.batch;
  GatherArguments args{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t index = batch.indices[static_cast<std::size_t>(image_of(block, lane))];
    if (batch.source == nullptr)
      args.images[lane] = batch.images + index * extent.elements();
    else
      args.images[lane] =
          lane < block.images() ? staging_.read(*batch.source, index, lane, block.thread) : args.images[0];
  }
  args.channels = static_cast<int>(extent.channels);
  args.rows = static_cast<int>(extent.rows);
  args.columns = static_cast<int>(extent.columns);
  args.scale = batch.scale.data();
  args.shift = batch.shift.data();
  args.out = view.data;
  args.out_plane = view.plane;
  args.out_row = view.row;
  block.batch.kernels->gather(args);
}

void BatchIo::read_images(const BlockContext& block) const {
  const Extent& extent = plan_.image->extent;
  to_lanes(*block.batch.kernels, arguments_.images + offset_of(block, extent), block.images(), extent,
           block.view(plan_.image->activation));
}

void BatchIo::write_outputs(const BlockContext& block) const {
  const Extent& extent = plan_.output->extent;
  from_lanes(*block.batch.kernels, block.view(plan_.output->activation), extent, block.images(),
             arguments_.outputs + offset_of(block, extent));
}

void BatchIo::read_output_gradients(const BlockContext& block) const {
  float* const to = block.view(plan_.output->gradient).data;
  const std::int64_t size = plan_.output->extent.elements();
  for (int lane = 0; lane < kLanes; ++lane) {
    const float* const row = arguments_.output_gradients + image_of(block, lane) * size;
    for (std::int64_t i = 0; i < size; ++i) to[i * kLanes + lane] = lane < block.images() ? row[i] : 0.0f;
  }
}

void BatchIo::write_image_gradients(const BlockContext& block) const {
  if (arguments_.image_gradients == nullptr) return;
  const Extent& extent = plan_.image->extent;
  from_lanes(*block.batch.kernels, block.view(plan_.image->gradient), extent, block.images(),
             arguments_.image_gradients + offset_of(block, extent));
}

void BatchIo::compute_loss(const BlockContext& block) {
  alignas(64) std::array<std::int32_t, kLanes> labels;
  for (int lane = 0; lane < kLanes; ++lane)
    labels[static_cast<std::size_t>(lane)] =
        lane < block.images()
            ? static_cast<std::int32_t>(arguments_.labels[static_cast<std::size_t>(image_of(block, lane))])
            : -1;
  LossArguments args{};
  args.outputs = block.view(plan_.output->activation).data;
  args.class_step = kLanes;
  args.classes = static_cast<int>(plan_.output->extent.channels);
  args.labels = labels.data();
  args.smoothing = static_cast<float>(arguments_.loss.label_smoothing);
  args.scale = static_cast<float>(1.0 / static_cast<double>(block.batch.images));
  args.gradient = block.view(plan_.output->gradient).data;
  args.gradient_step = kLanes;
  const KernelTable& kernels = *block.batch.kernels;
  const bool logits = arguments_.loss.kind == LossKind::kCrossEntropy;
  (logits ? kernels.cross_entropy : kernels.negative_log_likelihood)(args);
  StepResult& result = results_[static_cast<std::size_t>(block.index)];
  for (int lane = 0; lane < kLanes; ++lane) {
    result.loss_sum += args.loss[lane];
    result.correct += args.correct[lane];
  }
}

StepResult BatchIo::result() const {
  StepResult total;
  for (const StepResult& each : results_) {
    total.loss_sum += each.loss_sum;
    total.correct += each.correct;
  }
  return total;
}

}  // namespace mnistcnn::engine::lanes
