#include "mnistcnn/engine/lanes/ops/convolution_op.h"

#include <algorithm>

#include "mnistcnn/engine/lanes/ways.h"

namespace mnistcnn::engine::lanes {

ConvolutionOp::ConvolutionOp(const KernelTable& kernels, const network::Conv2d& layer, Source source, Value* output,
                             int weight, int bias, EqualBits equal_bits)
    : Op({Input{source.value}}),
      layer_(layer),
      source_(source),
      output_(output),
      weight_(weight),
      bias_(bias),
      gradient_layout_{output->extent, {}} {
  plan_forward(kernels, equal_bits);
  plan_gradients(kernels);
  plan_weight_gradients(kernels);
  const std::int64_t channels = source_.extent().channels / layer_.groups, outputs = output_->extent.channels;
  weight_gradient_ = {weight_, outputs * channels * layer_.kernel.height * layer_.kernel.width, 0};
  bias_gradient_ = {bias_, bias_ >= 0 ? outputs : 0, 0};
}

std::optional<WinogradShape> ConvolutionOp::winograd_shape() const {
  const network::Pair three{3, 3}, one{1, 1};
  const network::Border& padding = layer_.padding;
  const bool fits = layer_.kernel == three && layer_.stride == one && layer_.dilation == one && layer_.groups == 1 &&
                    std::max(padding.top, padding.left) <= 2;
  if (!fits) return std::nullopt;
  return WinogradShape{source_.extent(), output_->extent, integer(padding.top), integer(padding.left)};
}

void ConvolutionOp::add_way(std::vector<Packed>& ways, CorrelationWay way) {
  ways.push_back({std::move(way), packed_size_});
  packed_size_ += std::visit([](const auto& each) { return whole_vectors(each.packed_size()); }, ways.back().way);
}

void ConvolutionOp::plan_forward(const KernelTable& kernels, EqualBits equal_bits) {
  const Extent &in = source_.extent(), &out = output_->extent;
  const std::int64_t taps = layer_.kernel.height * layer_.kernel.width, channels = in.channels / layer_.groups;
  const Axis rows = forward_axis(in.rows, out.rows, layer_.kernel.height, layer_.stride.height, layer_.padding.top,
                                 layer_.dilation.height);
  const Axis columns = forward_axis(in.columns, out.columns, layer_.kernel.width, layer_.stride.width,
                                    layer_.padding.left, layer_.dilation.width);
  input_layout_ = {in, {rows.before(), rows.after(), columns.before(), columns.after()}};
  const std::optional<WinogradShape> shape = winograd_shape();
  const bool bands = equal_bits != EqualBits::kAlways && shape && way_of_outputs(*shape) == Way::kBands;
  if (bands) add_way(forward_, BandCorrelation(kernels, *shape, Direction::kForward));
  if (bands && equal_bits == EqualBits::kNotNeeded) return;
  const std::int64_t outputs = out.channels / layer_.groups;
  add_way(forward_, Correlation(kernels, {integer(layer_.groups), integer(channels), integer(outputs)}, rows, columns,
                                {outputs * channels * taps, channels * taps, taps, layer_.kernel.width}));
}

void ConvolutionOp::plan_gradients(const KernelTable& kernels) {
  const std::optional<WinogradShape> shape = winograd_shape();
  const Way way = shape ? way_of_input_gradient(*shape) : Way::kDirect;
  if (way == Way::kWinograd)
    add_way(backward_, WinogradCorrelation(kernels, shape->reversed()));
  else if (way == Way::kBands)
    add_way(backward_, BandCorrelation(kernels, shape->reversed(), Direction::kGradient));
  else
    plan_direct_gradients(kernels);
}

void ConvolutionOp::plan_direct_gradients(const KernelTable& kernels) {
  const Extent &in = source_.extent(), &out = output_->extent;
  const std::int64_t taps = layer_.kernel.height * layer_.kernel.width;
  const std::int64_t channels = in.channels / layer_.groups, outputs = out.channels / layer_.groups;
  for (const Axis& rows : gradient_axes(in.rows, out.rows, layer_.kernel.height, layer_.stride.height,
                                        layer_.padding.top, layer_.dilation.height))
    for (const Axis& columns : gradient_axes(in.columns, out.columns, layer_.kernel.width, layer_.stride.width,
                                             layer_.padding.left, layer_.dilation.width)) {
      const Correlation direct(kernels, {integer(layer_.groups), integer(outputs), integer(channels)}, rows, columns,
                               {outputs * channels * taps, taps, channels * taps, layer_.kernel.width});
      add_way(backward_, direct);
      Frame& frame = gradient_layout_.frame;
      if (!direct.needs_column_border()) continue;
      frame.left = std::max<std::int64_t>(frame.left, columns.before());
      frame.right = std::max<std::int64_t>(frame.right, columns.after());
    }
}

void ConvolutionOp::plan_weight_gradients(const KernelTable& kernels) {
  const std::optional<WinogradShape> shape = winograd_shape();
  const Way way = shape ? way_of_weight_gradient(*shape) : Way::kDirect;
  if (way == Way::kWinograd)
    winograd_weights_.emplace(kernels, *shape);
  else if (way == Way::kBands)
    band_weights_.emplace(kernels, *shape);
  else
    plan_weight_tiles(kernels);
}

void ConvolutionOp::plan_weight_tiles(const KernelTable& kernels) {
  const Extent& out = output_->extent;
  const std::int64_t channels = source_.extent().channels / layer_.groups;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t i = 0; i < layer_.kernel.height; ++i)
      for (std::int64_t j = 0; j < layer_.kernel.width; ++j)
        taps_.push_back(integer(c * input_layout_.plane() +
                                (i * layer_.dilation.height - layer_.padding.top) * input_layout_.row() +
                                (j * layer_.dilation.width - layer_.padding.left) * kLanes));
  weight_tiles_ =
      weight_tiles(kernels, integer(out.channels / layer_.groups), static_cast<int>(taps_.size()), out.positions());
}

Needs ConvolutionOp::needs() const {
  Needs needs;
  needs.input_scratch = input_layout_.size();
  needs.gradient_scratch = gradient_layout_.size();
  needs.temporary = source_.extent().elements() * kLanes;
  if (winograd_weights_) needs.workspace = winograd_weights_->workspace_size();
  if (band_weights_) needs.workspace = band_weights_->workspace_size();
  for (const auto* ways : {&forward_, &backward_})
    for (const Packed& each : *ways)
      needs.workspace =
          std::max(needs.workspace, std::visit([](const auto& way) { return way.workspace_size(); }, each.way));
  needs.packed = packed_size_;
  return needs;
}

std::vector<Op::PartialGradient*> ConvolutionOp::partial_gradients() {
  std::vector<PartialGradient*> gradients{&weight_gradient_};
  if (bias_ >= 0) gradients.push_back(&bias_gradient_);
  return gradients;
}

int ConvolutionOp::packing_jobs() const {
  int jobs = 0;
  for (const auto* ways : {&forward_, &backward_})
    for (const Packed& each : *ways) jobs += std::visit([](const auto& way) { return way.packing_jobs(); }, each.way);
  return jobs;
}

std::int64_t ConvolutionOp::packing_work() const {
  std::int64_t work = 0;
  for (const auto* ways : {&forward_, &backward_})
    for (const Packed& each : *ways)
      work = std::max(work, std::visit([](const auto& way) { return way.packing_work(); }, each.way));
  return work;
}

void ConvolutionOp::pack(const Run& run, int job) const {
  const float* const weights = run.values[static_cast<std::size_t>(weight_)];
  for (const auto* ways : {&forward_, &backward_})
    for (const Packed& each : *ways) {
      const int jobs = std::visit([](const auto& way) { return way.packing_jobs(); }, each.way);
      const bool unused = ways == &forward_ && &each != &forward_way(run);
      if (job < jobs) {
        if (!unused)
          std::visit([&](const auto& way) { way.pack(job, weights, run.packed + places_.packed + each.weights); },
                     each.way);
        return;
      }
      job -= jobs;
    }
}

// The input with zeros around it: in place where it lies that way, else computed or copied into scratch.
View ConvolutionOp::input_map(const BlockRun& at) const {
  const View given = at.view(source_.value->activation);
  if (!source_.lazy && given.plane == input_layout_.plane() && given.row == input_layout_.row()) return given;
  float* const scratch = thread_memory(at, places_.input_scratch);
  const View target = input_layout_.view(scratch);
  input_layout_.clear_frame(scratch);
  if (source_.lazy)
    source_.lazy->compute(at, target);
  else
    copy_map(given, target, source_.extent());
  return target;
}

void ConvolutionOp::run_way(const BlockRun& at, const Packed& packed, View from, const float* bias, View to) const {
  const float* const weights = at.run.packed + places_.packed + packed.weights;
  std::visit([&](const auto& way) { way.run(from, weights, bias, to, thread_memory(at, places_.workspace)); },
             packed.way);
}

void ConvolutionOp::forward(const BlockRun& at) const {
  const float* bias = bias_ >= 0 ? at.run.values[static_cast<std::size_t>(bias_)] : nullptr;
  run_way(at, forward_way(at.run), input_map(at), bias, at.view(output_->activation));
}

View ConvolutionOp::output_gradient(const BlockRun& at) const {
  const View given = at.view(output_->gradient);
  if (gradient_layout_.frame.empty()) return given;
  float* const scratch = thread_memory(at, places_.gradient_scratch);
  const View target = gradient_layout_.view(scratch);
  if (given.data != target.data) copy_map(given, target, gradient_layout_.extent);
  gradient_layout_.clear_frame(scratch);
  return target;
}

void ConvolutionOp::weight_gradients(const BlockRun& at, View x, View d) const {
  const Timed timed(at.run, at.thread, work_of(number(), Pass::kWeightGradients));
  if (band_weights_)
    return band_weights_->run(x, d, at.partial(weight_gradient_.partial), at.adds_to_partial(),
                              thread_memory(at, places_.workspace));
  if (winograd_weights_)
    return winograd_weights_->run(x, d, at.partial(weight_gradient_.partial), at.adds_to_partial(),
                                  thread_memory(at, places_.workspace));
  const Extent& out = output_->extent;
  const std::int64_t channels = source_.extent().channels / layer_.groups, outputs = out.channels / layer_.groups;
  WeightGradientTile t{};
  t.d_plane = d.plane;
  t.d_row = d.row;
  t.x_row = x.row * layer_.stride.height;
  t.x_step = kLanes * layer_.stride.width;
  t.rows = integer(out.rows);
  t.columns = integer(out.columns);
  t.out_row = static_cast<std::int64_t>(taps_.size());
  t.accumulate = at.adds_to_partial();
  float* const partial = at.partial(weight_gradient_.partial);
  for (std::int64_t group = 0; group < layer_.groups; ++group) {
    t.x = x.data + group * channels * x.plane;
    for (const WeightTile& tile : weight_tiles_) {
      const std::int64_t output = group * outputs + tile.output;
      t.d = d.data + output * d.plane;
      t.taps = taps_.data() + tile.tap;
      t.out = partial + output * t.out_row + tile.tap;
      tile.kernel(t);
    }
  }
}

void ConvolutionOp::bias_gradient(const BlockRun& at, View d) const {
  const Timed timed(at.run, at.thread, work_of(number(), Pass::kWeightGradients));
  const Extent& out = output_->extent;
  float* const partial = at.partial(bias_gradient_.partial);
  std::vector<float> sums(static_cast<std::size_t>(out.channels));
  at.run.kernels->sum_planes(d.data, d.plane, d.row, integer(out.channels), integer(out.rows), integer(out.columns),
                             sums.data());
  for (std::size_t c = 0; c < sums.size(); ++c) partial[c] = at.adds_to_partial() ? partial[c] + sums[c] : sums[c];
}

void ConvolutionOp::backward(const BlockRun& at) const {
  const View d = output_gradient(at);
  weight_gradients(at, input_map(at), d);
  if (bias_ >= 0) bias_gradient(at, d);
  if (!input().wants_gradient(at.run)) return;
  input_gradient(at, d);
}

void ConvolutionOp::input_gradient(const BlockRun& at, View d) const {
  give_gradient(at, input(), places_.temporary, [&](View target) {
    for (const Packed& each : backward_) run_way(at, each, d, nullptr, target);
  });
}

void ConvolutionOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) { forward(at); });
}

void ConvolutionOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) { backward(at); });
}

}  // namespace mnistcnn::engine::lanes
