#include "mnistcnn/engine/lanes/plan/compiler.h"

#include <algorithm>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/lanes/ops/convolution_op.h"
#include "mnistcnn/engine/lanes/ops/elementwise_ops.h"
#include "mnistcnn/engine/lanes/ops/linear_ops.h"
#include "mnistcnn/engine/lanes/ops/pointwise_op.h"
#include "mnistcnn/engine/lanes/ops/reduction_ops.h"
#include "mnistcnn/engine/lanes/plan/memory_planner.h"
#include "mnistcnn/engine/lanes/plan/plan_builder.h"

namespace mnistcnn::engine::lanes {
namespace {

using network::Role;
using network::Shape;

// Linear layers with more weights use BatchLinearOp.
constexpr std::int64_t kMaxBlockLinearWeights = 1 << 17;

// Kernels take offsets in a map as 32-bit integers, in floats.
constexpr std::int64_t kMaxMapElements = (std::int64_t{1} << 31) / kLanes - 1;

// Whether the offsets in a map fit 32 bits, with the padding of a convolution or of its backward. The product is a
// double because it may exceed 64 bits.
bool fits(const Shape& shape, const network::Layer& layer) {
  double elements = 1;
  for (const std::int64_t size : shape) elements *= static_cast<double>(size);
  if (const auto* conv = std::get_if<network::Conv2d>(&layer)) {
    const network::Border& border = conv->padding;
    const std::int64_t rows =
        std::max(border.top + border.bottom, 2 * conv->dilation.height * (conv->kernel.height - 1));
    const std::int64_t columns =
        std::max(border.left + border.right, 2 * conv->dilation.width * (conv->kernel.width - 1));
    elements =
        static_cast<double>(shape[0]) * static_cast<double>(shape[1] + rows) * static_cast<double>(shape[2] + columns);
  }
  return elements <= static_cast<double>(kMaxMapElements);
}

// Translates a graph into operations, node by node. Consecutive pointwise layers are fused into one PointwiseOp if it
// supports their order.
class Compiler : PlanBuilder {
 public:
  Compiler(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels)
      : PlanBuilder(graph, analysis), kernels_(kernels) {}

  ExecutionPlan compile() {
    find_used_nodes();
    exact_ties_ = needed_exact_ties();
    plan_.image = new_tensor(extent_of(graph_.input_shape), false);
    plan_.image->producer = -1;
    node_outputs_.assign(graph_.nodes.size(), {});
    for (node_ = 0; node_ < static_cast<int>(graph_.nodes.size()); ++node_) {
      if (!used_[static_cast<std::size_t>(node_)]) continue;
      std::visit([&](const auto& layer) { add(layer); }, node().layer);
    }
    plan_.output = tensor_of(node_outputs_.back());
    link_gradients();
    fuse_convolutions();
    plan_memory(plan_, aliases_);
    collect_partial_gradients();
    return std::move(plan_);
  }

 private:
  // Return the tensor of a node's output, in the shape of the node. No further layer can be fused with its producer.
  Tensor* tensor_of(const NodeOutput& output) {
    close_fusion(output.tensor);
    const Extent& extent = output.tensor->extent;
    if (output.extent.channels == extent.channels && output.extent.rows == extent.rows) return output.tensor;
    return alias_of(output.tensor, output.extent);
  }
  Tensor* input_tensor() { return tensor_of(only_input()); }
  std::vector<Tensor*> input_tensors() {
    std::vector<Tensor*> tensors;
    for (const int from : node().inputs) tensors.push_back(tensor_of(output_of(from)));
    return tensors;
  }

  // ---- fusion of pointwise layers
  enum Stage { kEmpty, kFirstAffine, kActivation, kSecondAffine, kDropped, kPooled, kPoolDropped };
  // A fused operation to which further layers can be added.
  struct OpenFusion {
    PointwiseOp* op;
    int stage;      // of the last layer added
    int last_node;  // the last layer added
  };

  void close_fusion(Tensor* output) {
    std::erase_if(open_, [&](const OpenFusion& each) { return each.op->output() == output; });
  }

  // Return the open fusion to which the current node can be added, or start one. `accepts` decides by its layers.
  OpenFusion& find_or_start_fusion(const auto& accepts) {
    const int from = node().inputs[0];
    const NodeOutput input = only_input();
    for (OpenFusion& each : open_)
      if (each.op->output() == input.tensor && each.last_node == from && has_one_reader(from) &&
          input.extent.rows == input.tensor->extent.rows && input.extent.channels == input.tensor->extent.channels &&
          accepts(each)) {
        each.last_node = node_;
        each.op->add_node(node_);
        return each;
      }
    Tensor* const tensor = tensor_of(input);
    Tensor* const output = new_tensor(tensor->extent, tensor->requires_grad);
    PointwiseOp* const op = emplace<PointwiseOp>(Input{tensor}, output);
    open_.push_back({op, kEmpty, node_});
    return open_.back();
  }

  void finish_fused_node(OpenFusion& fusion, int stage, bool has_parameters = false) {
    fusion.stage = stage;
    Tensor* const output = fusion.op->output();
    output->extent = output_extent();
    output->requires_grad = output->requires_grad || has_parameters;
    set_output({output, output->extent});
  }

  OpenFusion& fusion_for_affine() {
    return find_or_start_fusion([](const OpenFusion& f) {
      const PointwiseLayers& layers = f.op->layers();
      const bool may_come_first = layers.activation != PointwiseLayers::Activation::kSilu;
      return f.stage == kEmpty || (f.stage == kActivation && may_come_first && !layers.norm && !layers.affine);
    });
  }

  void finish_affine(OpenFusion& fusion, bool has_parameters) {
    const bool after_activation = fusion.stage == kActivation;
    fusion.op->layers().activation_first = after_activation;
    finish_fused_node(fusion, after_activation ? kSecondAffine : kFirstAffine, has_parameters);
  }

  template <class Norm>
  void add_batch_norm(const Norm& norm) {
    OpenFusion& fusion = fusion_for_affine();
    PointwiseLayers::Norm layer;
    layer.eps = norm.eps;
    layer.momentum = norm.momentum;
    layer.weight = use_parameter(Role::kWeight);
    layer.bias = use_parameter(Role::kBias);
    const network::NodeAnalysis& analysis = node_analysis();
    layer.running_mean = analysis.tensors[static_cast<std::size_t>(Role::kRunningMean)];
    layer.running_variance = analysis.tensors[static_cast<std::size_t>(Role::kRunningVariance)];
    layer.counter = analysis.counter;
    fusion.op->layers().norm = layer;
    finish_affine(fusion, norm.affine);
    if (!norm.track_running_stats) plan_.predicts_whole_batches = true;
  }

  void add_fused_activation(PointwiseLayers::Activation activation, double slope) {
    // A monotonic activation after a max pool is computed before it, with the same result.
    const bool is_monotonic = slope >= 0 && activation != PointwiseLayers::Activation::kSilu;
    OpenFusion& fusion = find_or_start_fusion([&](const OpenFusion& f) {
      const PointwiseLayers& layers = f.op->layers();
      const bool is_only_pooled =
          f.stage == kPooled && layers.activation == PointwiseLayers::Activation::kNone && layers.dropout == kNoDropout;
      return f.stage < kActivation || (is_monotonic && is_only_pooled);
    });
    fusion.op->layers().activation = activation;
    fusion.op->layers().slope = slope;
    finish_fused_node(fusion, std::max<int>(fusion.stage, kActivation));
  }

  template <class Layer>
  void add_dropout(const Layer& layer, bool channels) {
    if (layer.probability == 0) {
      set_output(only_input());
      for (OpenFusion& each : open_)
        if (each.last_node == node().inputs[0] && has_one_reader(each.last_node)) each.last_node = node_;
      return;
    }
    OpenFusion& fusion = find_or_start_fusion([](const OpenFusion& f) {
      return f.stage < kDropped || (f.stage == kPooled && f.op->layers().dropout == kNoDropout);
    });
    PointwiseLayers& layers = fusion.op->layers();
    layers.dropout = layers.pool == kNoPool ? kDropoutBeforePool : kDropoutAfterPool;
    layers.dropout_probability = layer.probability;
    layers.dropout_always = layer.always;
    layers.dropout_channels = channels;
    layers.dropout_node = node_;
    finish_fused_node(fusion, fusion.stage == kPooled ? kPoolDropped : kDropped);
  }

  // ---- the layers
  void add(const network::BatchNorm2d& norm) { add_batch_norm(norm); }
  void add(const network::BatchNorm1d& norm) { add_batch_norm(norm); }
  void add(const network::ReLU&) { add_fused_activation(PointwiseLayers::Activation::kRelu, 0); }
  void add(const network::LeakyReLU& layer) {
    add_fused_activation(PointwiseLayers::Activation::kLeaky, layer.negative_slope);
  }
  void add(const network::SiLU&) { add_fused_activation(PointwiseLayers::Activation::kSilu, 0); }
  void add(const network::Dropout& layer) { add_dropout(layer, false); }
  void add(const network::Dropout2d& layer) { add_dropout(layer, true); }

  void add(const network::ScaleShift& layer) {
    OpenFusion& fusion = fusion_for_affine();
    fusion.op->layers().affine = PointwiseLayers::Affine{layer.scale, layer.shift};
    finish_affine(fusion, false);
  }

  void add(const network::MaxPool2d& pool) {
    const Extent in = only_input().extent, out = output_extent();
    if (is_two_by_two(pool, in)) {
      OpenFusion& fusion = find_or_start_fusion([](const OpenFusion& f) { return f.stage < kPooled; });
      fusion.op->layers().pool = kMaxPool;
      return finish_fused_node(fusion, kPooled);
    }
    add_pool(Pooling::kMaximum,
             pool_windows(in.rows, out.rows, pool.kernel.height, pool.stride.height, pool.padding.height,
                          pool.dilation.height, false),
             pool_windows(in.columns, out.columns, pool.kernel.width, pool.stride.width, pool.padding.width,
                          pool.dilation.width, false));
  }

  void add(const network::AvgPool2d& pool) {
    const Extent in = only_input().extent, out = output_extent();
    add_pool(Pooling::kAverage,
             pool_windows(in.rows, out.rows, pool.kernel.height, pool.stride.height, pool.padding.height, 1,
                          pool.count_include_pad),
             pool_windows(in.columns, out.columns, pool.kernel.width, pool.stride.width, pool.padding.width, 1,
                          pool.count_include_pad));
  }

  void add(const network::AdaptiveAvgPool2d& pool) {
    const Extent in = only_input().extent;
    add_pool(Pooling::kAverage, adaptive_windows(in.rows, pool.output.height),
             adaptive_windows(in.columns, pool.output.width));
  }

  void add_pool(Pooling pooling, PoolWindows rows, PoolWindows columns) {
    Tensor* const in = input_tensor();
    emplace<PoolOp>(Input{in}, new_output(output_extent(), {in}, false).tensor, pooling, std::move(rows),
                    std::move(columns));
  }

  void add(const network::Amax& amax) {
    const Extent from = extent_around(input_shape(), amax.dimension);
    Tensor* const in = tensor_of({only_input().tensor, from});
    Tensor* const out = new_output({from.channels, 1, from.columns}, {in}, false).tensor;
    emplace<PoolOp>(Input{in}, out, Pooling::kAmax, adaptive_windows(from.rows, 1),
                    adaptive_windows(from.columns, from.columns));
    set_output({out, output_extent()});
  }

  // Return the input of a convolution or a linear layer. A fused operation becomes a prologue if the current node is
  // the only reader of its output.
  FusedInput fused_input() {
    int from = node().inputs[0];
    const NodeOutput input = only_input();
    while (from >= 0 && has_one_reader(from) && is_reshape_only(from))
      from = graph_.nodes[static_cast<std::size_t>(from)].inputs[0];
    for (const OpenFusion& each : open_)
      if (each.op->output() == input.tensor && each.last_node == from && has_one_reader(from)) {
        PointwiseOp* const prologue = each.op;
        if (!prologue->is_cheap() || may_fuse_with_producer(*prologue)) break;
        prologue->fuse_into_reader();
        close_fusion(input.tensor);
        return {input.tensor, prologue};
      }
    return {tensor_of(input), nullptr};
  }

  // Return the convolution before a fused operation if it computes the input.
  ConvolutionOp* producer_before(const PointwiseOp& op) const {
    if (op.index() == 0) return nullptr;
    auto* const producer = dynamic_cast<ConvolutionOp*>(plan_.ops[to_size(op.index() - 1)].get());
    return producer != nullptr && producer->output() == op.inputs()[0].tensor ? producer : nullptr;
  }

  // Whether fuse_convolutions may compute the output together with the convolution before. It does not if the output of
  // the convolution has further readers, which may be known only later.
  bool may_fuse_with_producer(const PointwiseOp& op) const {
    const ConvolutionOp* const producer = producer_before(op);
    return producer != nullptr && has_one_reader(producer->nodes().front()) && producer->supports_pool(op);
  }

  // Fuse convolutions with the operations after them, if these are the only readers.
  void fuse_convolutions() {
    for (const auto& op : plan_.ops) {
      auto* const reader = dynamic_cast<PointwiseOp*>(op.get());
      if (reader == nullptr) continue;
      ConvolutionOp* const producer = producer_before(*reader);
      if (producer != nullptr && producer->output()->uses == 1) producer->fuse(kernels_, *reader);
    }
  }

  bool is_reshape_only(int index) const {
    return std::holds_alternative<network::Flatten>(graph_.nodes[static_cast<std::size_t>(index)].layer);
  }

  void add(const network::Conv2d& conv) {
    const Extent in = only_input().extent, out = output_extent();
    const bool whole_map = conv.groups == 1 && out.positions() == 1 && conv.kernel.height == in.rows &&
                           conv.kernel.width == in.columns && conv.padding == network::Border{};
    if (whole_map) return add_linear(out);
    const FusedInput from = fused_input();
    const NodeOutput to = new_output(out, {from.tensor}, true);
    const int weight = use_parameter(Role::kWeight), bias = use_parameter(Role::kBias);
    emplace<ConvolutionOp>(kernels_, conv, from, to.tensor, weight, bias, exact_ties_);
  }

  void add(const network::Linear&) { add_linear(output_extent()); }

  void add_linear(const Extent& out) {
    const int weight = use_parameter(Role::kWeight), bias = use_parameter(Role::kBias);
    const FusedInput from = fused_input();
    const NodeOutput to = new_output(out, {from.tensor}, true);
    const std::int64_t weights = from.extent().elements() * out.elements();
    if (weights > kMaxBlockLinearWeights)
      emplace<BatchLinearOp>(from, to.tensor, weight, bias);
    else
      emplace<BlockLinearOp>(from, to.tensor, weight, bias);
  }

  void add_view() { set_output({only_input().tensor, output_extent()}); }
  void add(const network::Flatten&) { add_view(); }
  void add(const network::Reshape&) { add_view(); }

  void add_activation(Activation activation, ActivationParameters parameters = {}, ActivationOp::Slopes slopes = {}) {
    Tensor* const in = input_tensor();
    emplace<ActivationOp>(Input{in}, new_output(in->extent, {in}, slopes.count > 0).tensor, activation, parameters,
                          slopes);
  }
  void add(const network::Tanh&) { add_activation(kTanh); }
  void add(const network::Sigmoid&) { add_activation(kSigmoid); }
  void add(const network::ReLU6&) { add_activation(kRelu6); }
  void add(const network::Hardswish&) { add_activation(kHardswish); }
  void add(const network::Mish&) { add_activation(kMish); }
  void add(const network::Reciprocal&) { add_activation(kReciprocal); }
  void add(const network::Softplus& layer) { add_activation(kSoftplus, {layer.beta, layer.threshold}); }
  void add(const network::ELU& layer) { add_activation(kElu, {layer.alpha}); }
  void add(const network::GELU& layer) { add_activation(layer.tanh_approximation ? kGeluTanh : kGelu); }
  void add(const network::PReLU& layer) { add_activation(kPrelu, {}, {use_parameter(Role::kWeight), layer.count}); }

  void add_softmax(bool logarithm) {
    Tensor* const in = input_tensor();
    emplace<SoftmaxOp>(Input{in}, new_output(in->extent, {in}, false).tensor, logarithm);
  }
  void add(const network::LogSoftmax&) { add_softmax(true); }
  void add(const network::Softmax&) { add_softmax(false); }

  void add(const network::Add&) {
    const std::vector<Tensor*> tensors = input_tensors();
    emplace<AddOp>(as_inputs(tensors), new_output(output_extent(), tensors, false).tensor);
  }

  void add(const network::Multiply&) {
    const std::vector<Tensor*> tensors = input_tensors();
    emplace<MultiplyOp>(as_inputs(tensors), new_output(output_extent(), tensors, false).tensor);
  }

  void add_rearrangement(std::vector<RearrangeOp::Element> elements) {
    const std::vector<Tensor*> tensors = input_tensors();
    emplace<RearrangeOp>(as_inputs(tensors), new_output(output_extent(), tensors, false).tensor, std::move(elements));
  }

  void add(const network::Detach&) {
    Tensor* const in = input_tensor();
    emplace<DetachOp>(Input{in}, new_output(in->extent, {}, false).tensor);
  }

  void add(const network::Expand& expand) {
    add_rearrangement(strided_elements(expand.shape, expanded_strides(expand.shape), 0));
  }

  void add(const network::Concat&) {
    std::vector<RearrangeOp::Element> elements;
    for (std::size_t i = 0; i < node().inputs.size(); ++i)
      for (std::int64_t e = 0; e < output_of(node().inputs[i]).extent.elements(); ++e)
        elements.push_back({static_cast<int>(i), e});
    add_rearrangement(std::move(elements));
  }

  void add(const network::Permute& permute) {
    Shape strides;
    for (const std::int64_t d : permute.order) strides.push_back(input_strides()[static_cast<std::size_t>(d)]);
    add_rearrangement(strided_elements(output_shape(), strides, 0));
  }

  void add(const network::Slice& slice) {
    Shape strides = input_strides();
    std::int64_t& stride = strides[static_cast<std::size_t>(slice.dimension)];
    const std::int64_t start = slice.start * stride;
    stride *= slice.step;
    add_rearrangement(strided_elements(output_shape(), strides, start));
  }

  void add(const network::Pad& pad) { add_rearrangement(padded_elements(pad, only_input().extent, output_extent())); }

  void add_norm(NormOp::Layout layout, double eps) {
    layout.eps = eps;
    layout.weight = use_parameter(Role::kWeight);
    layout.bias = use_parameter(Role::kBias);
    if (layout.weight < 0) layout.weights = 0;
    Tensor* const in = input_tensor();
    emplace<NormOp>(Input{in}, new_output(in->extent, {in}, layout.weight >= 0).tensor, layout);
  }
  // Add a norm with one weight per channel.
  void add_channel_norm(std::int64_t groups, double eps) {
    const Extent in = only_input().extent;
    NormOp::Layout layout;
    layout.groups = groups;
    layout.weights = layout.weight_modulus = in.channels;
    layout.weight_divisor = in.positions();
    add_norm(layout, eps);
  }
  void add(const network::GroupNorm& norm) { add_channel_norm(norm.groups, norm.eps); }
  void add(const network::InstanceNorm2d& norm) { add_channel_norm(only_input().extent.channels, norm.eps); }
  void add(const network::LayerNorm& norm) {
    const std::int64_t length = network::element_count(norm.normalized_shape);
    NormOp::Layout layout;
    layout.groups = only_input().extent.elements() / length;
    layout.weights = layout.weight_modulus = length;
    add_norm(layout, norm.eps);
  }

  const KernelTable& kernels_;
  ExactTies exact_ties_ = ExactTies::kNotNeeded;
  std::vector<OpenFusion> open_;
};

}  // namespace

std::optional<std::string> unsupported_reason(const network::Graph& graph, const network::Analysis& analysis) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const network::Node& node = graph.nodes[i];
    const auto* norm = std::get_if<network::InstanceNorm2d>(&node.layer);
    if (norm != nullptr && norm->track_running_stats)
      return common::text("node '", node.name, "': InstanceNorm2d with running statistics is not supported");
    const network::NodeAnalysis& sizes = analysis.nodes[i];
    if (!fits(sizes.output_shape, node.layer) ||
        !std::ranges::all_of(sizes.input_shapes, [&](const Shape& shape) { return fits(shape, node.layer); }))
      return common::text("node '", node.name, "': a map with its padding has more than ", kMaxMapElements,
                          " elements per image");
  }
  return std::nullopt;
}

ExecutionPlan compile(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels) {
  return Compiler(graph, analysis, kernels).compile();
}

}  // namespace mnistcnn::engine::lanes
