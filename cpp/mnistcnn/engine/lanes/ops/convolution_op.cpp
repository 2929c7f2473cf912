#include "mnistcnn/engine/lanes/ops/convolution_op.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "mnistcnn/engine/lanes/conv/algorithm_selection.h"

namespace mnistcnn::engine::lanes {

ConvolutionOp::ConvolutionOp(const KernelTable& kernels, const network::Conv2d& layer, FusedInput input, Tensor* output,
                             int weight, int bias, ExactTies exact_ties)
    : Op({Input{input.tensor}}),
      layer_(layer),
      fused_input_(input),
      output_(output),
      weight_(weight),
      bias_(bias),
      gradient_layout_{output->extent, {}} {
  const std::optional<Convolution3x3> shape = as_3x3();
  if (shape && uses_batch_algorithm(*shape)) {
    batch_algorithm_.emplace(kernels, *shape);
    packed_size_ = batch_algorithm_->packed_size();
  }
  plan_forward(kernels, exact_ties);
  if (!batch_algorithm_) {
    plan_input_gradient(kernels);
    weight_gradient_algorithm_ = plan_weight_gradient(kernels);
  }
  const std::int64_t channels = fused_input_.extent().channels / layer_.groups, outputs = output_->extent.channels;
  weight_gradient_ = {weight_, outputs * channels * layer_.kernel.height * layer_.kernel.width, 0};
  bias_gradient_ = {bias_, bias_ >= 0 ? outputs : 0, 0};
}

// ---- planning

// Return the convolution in the form that Winograd algorithms accept, or nothing if they do not support it.
std::optional<Convolution3x3> ConvolutionOp::as_3x3() const {
  const network::Pair three{3, 3}, one{1, 1};
  const network::Border& padding = layer_.padding;
  const bool fits = layer_.kernel == three && layer_.stride == one && layer_.dilation == one && layer_.groups == 1 &&
                    std::max(padding.top, padding.left) <= 2;
  if (!fits) return std::nullopt;
  return Convolution3x3{fused_input_.extent(), output_->extent, integer(padding.top), integer(padding.left)};
}

void ConvolutionOp::add_algorithm(std::vector<PackedAlgorithm>& algorithms, ConvolutionAlgorithm algorithm,
                                  UsedFor used_for) {
  algorithms.push_back({std::move(algorithm), packed_size_, used_for});
  packed_size_ +=
      std::visit([](const auto& each) { return whole_vectors(each.packed_size()); }, algorithms.back().algorithm);
}

void ConvolutionOp::plan_forward(const KernelTable& kernels, ExactTies exact_ties) {
  const Extent &in = fused_input_.extent(), &out = output_->extent;
  const std::int64_t taps = layer_.kernel.height * layer_.kernel.width, channels = in.channels / layer_.groups;
  const Axis rows = forward_axis(in.rows, out.rows, layer_.kernel.height, layer_.stride.height, layer_.padding.top,
                                 layer_.dilation.height);
  const Axis columns = forward_axis(in.columns, out.columns, layer_.kernel.width, layer_.stride.width,
                                    layer_.padding.left, layer_.dilation.width);
  input_layout_ = {in, {rows.before(), rows.after(), columns.before(), columns.after()}};
  const std::optional<Convolution3x3> shape = as_3x3();
  const bool may_differ = exact_ties != ExactTies::kAlways && shape;
  const Algorithm algorithm = may_differ && !batch_algorithm_ ? select_forward_algorithm(*shape) : Algorithm::kDirect;
  const bool winograd = algorithm != Algorithm::kDirect || (may_differ && batch_algorithm_);
  const bool direct = !winograd || exact_ties == ExactTies::kForImageGradients;
  const UsedFor used_for = direct ? UsedFor::kWithoutImageGradients : UsedFor::kEveryBatch;
  if (algorithm == Algorithm::kWinograd2d)
    add_algorithm(forward_, Winograd2dConvolution(kernels, *shape, Direction::kForward), used_for);
  else if (algorithm == Algorithm::kWinograd1d)
    add_algorithm(forward_, Winograd1dConvolution(kernels, *shape, Direction::kForward), used_for);
  if (!direct) return;
  const std::int64_t outputs = out.channels / layer_.groups;
  add_algorithm(forward_,
                DirectConvolution(kernels, {integer(layer_.groups), integer(channels), integer(outputs)}, rows, columns,
                                  {outputs * channels * taps, channels * taps, taps, layer_.kernel.width}),
                winograd ? UsedFor::kWithImageGradients : UsedFor::kEveryBatch);
}

void ConvolutionOp::plan_input_gradient(const KernelTable& kernels) {
  const std::optional<Convolution3x3> shape = as_3x3();
  const Algorithm algorithm = shape ? select_input_gradient_algorithm(*shape) : Algorithm::kDirect;
  if (algorithm == Algorithm::kWinograd2d)
    add_algorithm(backward_, Winograd2dConvolution(kernels, *shape, Direction::kInputGradient), UsedFor::kEveryBatch);
  else if (algorithm == Algorithm::kWinograd1d)
    add_algorithm(backward_, Winograd1dConvolution(kernels, shape->reversed(), Direction::kInputGradient),
                  UsedFor::kEveryBatch);
  else
    plan_direct_input_gradient(kernels);
}

void ConvolutionOp::plan_direct_input_gradient(const KernelTable& kernels) {
  const Extent &in = fused_input_.extent(), &out = output_->extent;
  const std::int64_t taps = layer_.kernel.height * layer_.kernel.width;
  const std::int64_t channels = in.channels / layer_.groups, outputs = out.channels / layer_.groups;
  for (const Axis& rows : gradient_axes(in.rows, out.rows, layer_.kernel.height, layer_.stride.height,
                                        layer_.padding.top, layer_.dilation.height))
    for (const Axis& columns : gradient_axes(in.columns, out.columns, layer_.kernel.width, layer_.stride.width,
                                             layer_.padding.left, layer_.dilation.width)) {
      const DirectConvolution direct(kernels, {integer(layer_.groups), integer(outputs), integer(channels)}, rows,
                                     columns, {outputs * channels * taps, taps, channels * taps, layer_.kernel.width});
      add_algorithm(backward_, direct, UsedFor::kEveryBatch);
      if (!direct.needs_column_padding()) continue;
      Padding& padding = gradient_layout_.padding;
      padding.left = std::max<std::int64_t>(padding.left, columns.before());
      padding.right = std::max<std::int64_t>(padding.right, columns.after());
    }
}

WeightGradientAlgorithm ConvolutionOp::plan_weight_gradient(const KernelTable& kernels) const {
  const std::optional<Convolution3x3> shape = as_3x3();
  const Algorithm algorithm = shape ? select_weight_gradient_algorithm(*shape) : Algorithm::kDirect;
  if (algorithm == Algorithm::kWinograd2d) return Winograd2dWeightGradient(kernels, *shape);
  if (algorithm == Algorithm::kWinograd1d) return Winograd1dWeightGradient(kernels, *shape);
  return DirectWeightGradient(kernels, layer_, input_layout_, output_->extent);
}

// ---- memory and packed weights

// Call visit(algorithm, offset of its packed weights, used_for).
template <class Visit>
void ConvolutionOp::for_each_algorithm(Visit visit) const {
  const auto visit_one = [&](const PackedAlgorithm& each) {
    std::visit([&](const auto& algorithm) { visit(algorithm, each.weights, each.used_for); }, each.algorithm);
  };
  if (pooled_forward_) visit(pooled_forward_->algorithm, pooled_forward_->weights, UsedFor::kEveryBatch);
  std::ranges::for_each(forward_, visit_one);
  std::ranges::for_each(backward_, visit_one);
}

MemoryRequirements ConvolutionOp::memory_requirements() const {
  const auto workspace_size = [](const auto& algorithm) { return algorithm.workspace_size(); };
  MemoryRequirements required;
  required.input_scratch = input_layout_.size();
  required.gradient_scratch = gradient_layout_.size();
  required.temporary = fused_input_.extent().elements() * kLanes;
  required.workspace = bias_ >= 0 ? output_->extent.channels * kLanes : 0;
  if (row_wise_gradient_) required.workspace = std::max(required.workspace, row_wise_gradient_->workspace_size());
  if (weight_gradient_algorithm_)
    required.workspace = std::max(required.workspace, std::visit(workspace_size, *weight_gradient_algorithm_));
  if (batch_algorithm_) {
    required.workspace = std::max(required.workspace, batch_algorithm_->workspace_size());
    required.batch = batch_algorithm_->batch_size();
  }
  for_each_algorithm([&](const auto& algorithm, std::int64_t, UsedFor) {
    required.workspace = std::max(required.workspace, algorithm.workspace_size());
  });
  required.packed = packed_size_;
  return required;
}

std::vector<PartialGradient*> ConvolutionOp::partial_gradients() {
  std::vector<PartialGradient*> gradients;
  if (!batch_algorithm_) gradients.push_back(&weight_gradient_);
  if (bias_ >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

int ConvolutionOp::packing_tasks() const {
  int tasks = batch_algorithm_ ? batch_algorithm_->packing_tasks() : 0;
  for_each_algorithm([&](const auto& algorithm, std::int64_t, UsedFor) { tasks += algorithm.packing_tasks(); });
  return tasks;
}

std::int64_t ConvolutionOp::packing_task_size() const {
  std::int64_t size = batch_algorithm_ ? batch_algorithm_->packing_task_size() : 0;
  for_each_algorithm(
      [&](const auto& algorithm, std::int64_t, UsedFor) { size = std::max(size, algorithm.packing_task_size()); });
  return size;
}

// Task indices are consecutive over all algorithms.
void ConvolutionOp::pack(const BatchContext& batch, int task) const {
  const float* const weights = batch.parameters[static_cast<std::size_t>(weight_)];
  if (batch_algorithm_) {
    if (task < batch_algorithm_->packing_tasks()) batch_algorithm_->pack(task, weights, batch_memory(batch).packed);
    task -= batch_algorithm_->packing_tasks();
  }
  for_each_algorithm([&](const auto& algorithm, std::int64_t offset, UsedFor used_for) {
    const int tasks = algorithm.packing_tasks();
    if (task >= 0 && task < tasks && is_used(used_for, batch))
      algorithm.pack(task, weights, batch.packed + offsets_.packed + offset);
    task -= tasks;
  });
}

// ---- computation

bool ConvolutionOp::reads_input_in_place() const {
  const MemoryRef& given = fused_input_.tensor->activation;
  return fused_input_.prologue == nullptr && given.plane == input_layout_.plane() && given.row == input_layout_.row();
}

View ConvolutionOp::padded_input(const BlockContext& block) const {
  if (reads_input_in_place()) return block.view(fused_input_.tensor->activation);
  return input_layout_.view(block.scratch_memory(offsets_.input_scratch));
}

View ConvolutionOp::padded_output_gradient(const BlockContext& block) const {
  if (reads_output_gradient_in_place()) return block.view(output_->gradient);
  return gradient_layout_.view(block.scratch_memory(offsets_.gradient_scratch));
}

// Write the padded input to scratch memory: compute it with the prologue, or copy it. Parts are channels.
void ConvolutionOp::prepare_input(const BlockContext& block) const {
  if (reads_input_in_place()) return;
  const IndexRange own = block.part.of(integer(input_layout_.extent.channels));
  const PaddedLayout layout = input_layout_.with_channels(own.count);
  float* const scratch = block.scratch_memory(offsets_.input_scratch);
  layout.clear_padding(scratch + own.first * layout.plane());
  if (fused_input_.prologue != nullptr)
    fused_input_.prologue->compute(block, input_layout_.view(scratch));
  else
    copy_map(from_channel(block.view(fused_input_.tensor->activation), own.first),
             from_channel(input_layout_.view(scratch), own.first), layout.extent);
}

// Whether the operation before writes the map where this one reads it. It does not write the padding.
bool ConvolutionOp::needs_cleared_padding() const {
  return reads_input_in_place() && fused_input_.tensor->producer >= 0 && !input_layout_.padding.empty();
}

// Parts are channels.
void ConvolutionOp::clear_input_padding(const BlockContext& block) const {
  const IndexRange own = block.part.of(integer(input_layout_.extent.channels));
  float* const memory = block.view(fused_input_.tensor->activation).data - input_layout_.origin();
  input_layout_.with_channels(own.count).clear_padding(memory + own.first * input_layout_.plane());
}

// Write the padded output gradient to scratch memory. A gradient in gradient_scratch already has this layout. Parts are
// channels.
void ConvolutionOp::prepare_output_gradient(const BlockContext& block) const {
  if (reads_output_gradient_in_place()) return;
  const IndexRange own = block.part.of(integer(gradient_layout_.extent.channels));
  const PaddedLayout layout = gradient_layout_.with_channels(own.count);
  float* const scratch = block.scratch_memory(offsets_.gradient_scratch);
  if (output_->gradient.region != MemoryRef::Region::kScratch)
    copy_map(from_channel(block.view(output_->gradient), own.first),
             from_channel(gradient_layout_.view(scratch), own.first), layout.extent);
  layout.clear_padding(scratch + own.first * layout.plane());
}

void ConvolutionOp::run(const BlockContext& block, const PackedAlgorithm& packed, View from, const float* bias,
                        View to) const {
  const float* const weights = block.batch.packed + offsets_.packed + packed.weights;
  float* const workspace = block.thread_memory(offsets_.workspace);
  std::visit([&](const auto& algorithm) { algorithm.run(from, weights, bias, to, workspace, block.part); },
             packed.algorithm);
}

void ConvolutionOp::forward(const BlockContext& block) const {
  const float* const bias = bias_ >= 0 ? block.batch.parameters[static_cast<std::size_t>(bias_)] : nullptr;
  if (pooled_forward_)
    return pooled_forward_->algorithm.run(padded_input(block),
                                          block.batch.packed + offsets_.packed + pooled_forward_->weights, bias,
                                          pooled_forward_->reader->pooled_outputs(block), block.part);
  for (const PackedAlgorithm& each : forward_)
    if (each.is_used(block.batch)) run(block, each, padded_input(block), bias, block.view(output_->activation));
}

void ConvolutionOp::weight_gradient(const BlockContext& block, View x, View d) const {
  const ScopedTimer timer(block.batch, block.thread, time_category(index(), Pass::kWeightGradients));
  float* const partial = block.partial(weight_gradient_.partial);
  float* const workspace = block.thread_memory(offsets_.workspace);
  std::visit(
      [&](const auto& algorithm) { algorithm.run(x, d, partial, block.accumulates_partial(), workspace, block.part); },
      *weight_gradient_algorithm_);
}

void ConvolutionOp::bias_gradient(const BlockContext& block, View d) const {
  const ScopedTimer timer(block.batch, block.thread, time_category(index(), Pass::kWeightGradients));
  const Extent& out = output_->extent;
  const KernelTable& kernels = *block.batch.kernels;
  float* const sums = block.thread_memory(offsets_.workspace);
  std::fill_n(sums, out.channels * kLanes, 0.0f);
  kernels.sum_over_positions(d.data, d.plane, d.row, integer(out.channels), integer(out.rows), integer(out.columns),
                             sums);
  kernels.sum_over_images(sums, integer(out.channels), block.accumulates_partial(),
                          block.partial(bias_gradient_.partial));
}

void ConvolutionOp::input_gradient(const BlockContext& block, View d) const {
  write_gradient_of_part(block, input(), offsets_.temporary, [&](const BlockContext& part, View target) {
    for (const PackedAlgorithm& each : backward_) run(part, each, d, nullptr, target);
  });
}

// Return the parts that compute the weight gradient and the input gradient; the two are independent of each other.
ConvolutionOp::BackwardParts ConvolutionOp::backward_parts(const BlockContext& block) const {
  const Part part = block.part;
  if (!input().needs_gradient(block.batch)) return {part, {0, 0}};
  const auto repeats_work = [](const auto& algorithm) { return algorithm.kPartsRepeatWork; };
  if (part.count == 1 || !std::visit(repeats_work, *weight_gradient_algorithm_)) return {part, part};
  // Some parts compute the weight gradient, the others the input gradient.
  const int first = (part.count + 1) / 2;
  if (part.index < first) return {{part.index, first}, {0, 0}};
  return {{0, 0}, {part.index - first, part.count - first}};
}

// Return the algorithm of the input gradient if both gradients can use the same transformed output gradients.
const Winograd2dConvolution* ConvolutionOp::sharing_input_gradient() const {
  const auto* const weights = std::get_if<Winograd2dWeightGradient>(&*weight_gradient_algorithm_);
  return weights != nullptr && weights->shares_domains()
             ? std::get_if<Winograd2dConvolution>(&backward_.front().algorithm)
             : nullptr;
}

// Compute both gradients of a whole block with 2-D Winograd, and transform the output gradients once. The time of this
// transform counts as that of the weight gradient.
void ConvolutionOp::both_gradients(const BlockContext& block, View x, View d,
                                   const Winograd2dConvolution& inputs) const {
  const auto& weights = std::get<Winograd2dWeightGradient>(*weight_gradient_algorithm_);
  const float* const packed = block.batch.packed + offsets_.packed + backward_.front().weights;
  float* const workspace = block.thread_memory(offsets_.workspace);
  const TimeCategory category = time_category(index(), Pass::kWeightGradients);
  write_gradient(block, input(), offsets_.temporary, [&](View target) {
    for (int i = 0; i < weights.groups(); ++i) {
      Winograd2dWeightGradient::Domains domains;
      {
        const ScopedTimer timer(block.batch, block.thread, category);
        domains = weights.add_group(i, x, d, weights.all_outputs(), workspace);
      }
      inputs.multiply(weights.group(i), domains.gradients, packed, nullptr, target, domains.inputs);
    }
  });
  const ScopedTimer timer(block.batch, block.thread, category);
  weights.write(workspace, weights.all_outputs(), block.partial(weight_gradient_.partial), block.accumulates_partial());
}

void ConvolutionOp::gradients_by_rows(const BlockContext& block) const {
  const ScopedTimer timer(block.batch, block.thread, time_category(index(), Pass::kWeightGradients));
  row_wise_gradient_->run(block, padded_input(block), block.partial(weight_gradient_.partial),
                          bias_ >= 0 ? block.partial(bias_gradient_.partial) : nullptr,
                          block.thread_memory(offsets_.workspace));
}

void ConvolutionOp::backward(const BlockContext& block) const {
  if (is_gradient_row_wise(block.batch)) return gradients_by_rows(block);
  const View x = padded_input(block), d = padded_output_gradient(block);
  const auto [weights, inputs] = backward_parts(block);
  if (bias_ >= 0 && block.part.index == 0) bias_gradient(block, d);
  // The parts of a divided block compute the gradients at the same time, so they cannot share a transform.
  if (block.part.count == 1 && inputs.count > 0)
    if (const Winograd2dConvolution* const shared = sharing_input_gradient())
      return both_gradients(block, x, d, *shared);
  if (weights.count > 0) weight_gradient(block.with_part(weights), x, d);
  if (inputs.count > 0) input_gradient(block.with_part(inputs), d);
}

void ConvolutionOp::add_forward(Program& program, bool training) {
  if (batch_algorithm_) return add_forward_over_batch(program);
  if (!reads_input_in_place())
    program.for_each_part([this](const BlockContext& block) noexcept { prepare_input(block); });
  else if (needs_cleared_padding())
    // Nothing else reads or writes the padding before the next stage, so no part has to wait.
    program.for_each_part([this](const BlockContext& block) noexcept { clear_input_padding(block); }, Barrier::kNone);
  if (pooled_forward_) pooled_forward_->reader->add_dropout_masks(program, training);
  program.for_each_part([this](const BlockContext& block) noexcept { forward(block); });
}

void ConvolutionOp::add_backward(Program& program) {
  if (batch_algorithm_) return add_backward_over_batch(program);
  // A gradient in scratch memory was written immediately before, by a PointwiseOp, whose parts are the same channels.
  // Nothing else that is written here was read or written in its phase.
  const bool follows_pointwise = output_->gradient.region == MemoryRef::Region::kScratch;
  if (!reads_input_in_place() || !reads_output_gradient_in_place())
    program.for_each_part(
        [this](const BlockContext& block) noexcept {
          if (!is_gradient_row_wise(block.batch)) prepare_output_gradient(block);
          prepare_input(block);
        },
        follows_pointwise ? Barrier::kNone : Barrier::kBefore);
  program.for_each_part([this](const BlockContext& block) noexcept { backward(block); });
}

// ---- fused with the reader

// The output of the reader must be in memory: it is not computed again by the operation that reads it.
bool ConvolutionOp::supports_pool(const PointwiseOp& reader) const {
  return PooledConvolution::supports(layer_, input_layout_.extent.channels) && !batch_algorithm_ &&
         forward_.size() == 1 && std::holds_alternative<DirectConvolution>(forward_.front().algorithm) &&
         reader.output()->materialized && reader.has_only_relu_and_pool();
}

void ConvolutionOp::fuse(const KernelTable& kernels, PointwiseOp& reader) {
  if (supports_pool(reader)) {
    const bool relu = reader.layers().activation == PointwiseLayers::Activation::kRelu;
    // It has as many packed weights as the direct convolution, and uses the same memory.
    pooled_forward_ = PooledForward{PooledConvolution(kernels, layer_, input_layout_, reader.output()->extent, relu),
                                    forward_.front().weights, &reader};
    forward_.clear();
    output_->materialized = false;
    reader.compute_output_in_producer();
  }
  const auto* const weights =
      weight_gradient_algorithm_ ? std::get_if<DirectWeightGradient>(&*weight_gradient_algorithm_) : nullptr;
  if (weights != nullptr && layer_.groups == 1 && !input().tensor->requires_grad) {
    row_wise_gradient_.emplace(*weights, output_->extent, reader);
    reader.compute_gradient_in_producer();
  }
}

// ---- over the whole batch

bool ConvolutionOp::is_forward_over_batch(const BatchContext& batch) const {
  return std::ranges::none_of(forward_, [&](const PackedAlgorithm& each) { return each.is_used(batch); });
}

BatchWinograd2d::Memory ConvolutionOp::batch_memory(const BatchContext& batch) const {
  return {batch.batch_memory + offsets_.batch * batch.batch_blocks, batch.batch_blocks, batch.packed + offsets_.packed,
          batch.blocks};
}

void ConvolutionOp::add_forward_over_batch(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (needs_cleared_padding()) clear_input_padding(block);
    prepare_input(block);
    if (!is_forward_over_batch(block.batch)) return forward(block);
    batch_algorithm_->transform_inputs(batch_memory(block.batch), block.index, padded_input(block));
  });
  program.parallel_for(
      [this](const BatchContext& batch) { return is_forward_over_batch(batch) ? batch_algorithm_->output_tasks() : 0; },
      [this](const BatchContext& batch, int task, int) noexcept {
        batch_algorithm_->multiply_outputs(batch_memory(batch), task);
      });
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!is_forward_over_batch(block.batch)) return;
    const float* const bias = bias_ >= 0 ? block.batch.parameters[static_cast<std::size_t>(bias_)] : nullptr;
    batch_algorithm_->write_outputs(batch_memory(block.batch), block.index, bias, block.view(output_->activation));
  });
}

void ConvolutionOp::prepare_backward(const BlockContext& block) const {
  if (!is_forward_over_batch(block.batch)) {
    prepare_input(block);
    batch_algorithm_->transform_inputs(batch_memory(block.batch), block.index, padded_input(block));
  }
  prepare_output_gradient(block);
  const View d = padded_output_gradient(block);
  batch_algorithm_->transform_gradients(batch_memory(block.batch), block.index, d);
  if (bias_ >= 0) bias_gradient(block, d);
}

void ConvolutionOp::backward_task(const BatchContext& batch, int task, int thread) const {
  const BatchWinograd2d::Memory memory = batch_memory(batch);
  const int sum_tasks = batch_algorithm_->sum_tasks();
  if (task >= sum_tasks) return batch_algorithm_->multiply_input_gradients(memory, task - sum_tasks);
  const ScopedTimer timer(batch, thread, time_category(index(), Pass::kWeightGradients));
  batch_algorithm_->sum_weight_gradients(memory, task,
                                         batch.thread_memory + thread * batch.thread_size + offsets_.workspace);
}

void ConvolutionOp::add_backward_over_batch(Program& program) {
  program.for_each_block([this](const BlockContext& block) noexcept { prepare_backward(block); });
  program.parallel_for(
      [this](const BatchContext& batch) {
        const int input_tasks = input().needs_gradient(batch) ? batch_algorithm_->input_gradient_tasks() : 0;
        return batch_algorithm_->sum_tasks() + input_tasks;
      },
      [this](const BatchContext& batch, int task, int thread) noexcept { backward_task(batch, task, thread); });
  program.parallel_for([this](const BatchContext&) { return batch_algorithm_->weight_gradient_tasks(); },
                       [this](const BatchContext& batch, int task, int thread) noexcept {
                         const ScopedTimer timer(batch, thread, time_category(index(), Pass::kWeightGradients));
                         batch_algorithm_->write_weight_gradients(batch_memory(batch), task,
                                                                  batch.gradients[static_cast<std::size_t>(weight_)]);
                       });
  program.for_each_block([this](const BlockContext& block) noexcept {
    if (!input().needs_gradient(block.batch)) return;
    write_gradient(block, input(), offsets_.temporary, [&](View target) {
      batch_algorithm_->write_input_gradients(batch_memory(block.batch), block.index, target);
    });
  });
}

}  // namespace mnistcnn::engine::lanes
