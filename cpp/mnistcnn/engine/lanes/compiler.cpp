#include "mnistcnn/engine/lanes/compiler.h"

#include <algorithm>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/lanes/ops/activation_op.h"
#include "mnistcnn/engine/lanes/ops/add_op.h"
#include "mnistcnn/engine/lanes/ops/batch_linear_op.h"
#include "mnistcnn/engine/lanes/ops/block_linear_op.h"
#include "mnistcnn/engine/lanes/ops/chain_op.h"
#include "mnistcnn/engine/lanes/ops/convolution_op.h"
#include "mnistcnn/engine/lanes/ops/detach_op.h"
#include "mnistcnn/engine/lanes/ops/multiply_op.h"
#include "mnistcnn/engine/lanes/ops/norm_op.h"
#include "mnistcnn/engine/lanes/ops/pool_op.h"
#include "mnistcnn/engine/lanes/ops/rearrange_op.h"
#include "mnistcnn/engine/lanes/ops/softmax_op.h"
#include "mnistcnn/engine/lanes/placement.h"
#include "mnistcnn/engine/lanes/plan_builder.h"

namespace mnistcnn::engine::lanes {
namespace {

using network::Role;
using network::Shape;

// Linear layers with more weights than this are multiplied with the whole batch at once.
constexpr std::int64_t kBatchLinearWeights = 1 << 17;

class Compiler : PlanBuilder {
 public:
  Compiler(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels)
      : PlanBuilder(graph, analysis), kernels_(kernels) {}

  Plan compile() {
    find_used_nodes();
    equal_bits_ = needed_bits();
    plan_.image = new_value(extent_of(graph_.input_shape), false);
    plan_.image->producer = -1;
    value_of_.assign(graph_.nodes.size(), {});
    for (node_ = 0; node_ < static_cast<int>(graph_.nodes.size()); ++node_) {
      if (!used_[static_cast<std::size_t>(node_)]) continue;
      std::visit([&](const auto& layer) { add(layer); }, graph_.nodes[static_cast<std::size_t>(node_)].layer);
    }
    plan_.output = value_of_.back().value;
    close(plan_.output);
    link_gradients();
    place_memory(plan_, views_, lazy_);
    collect_gradients();
    return std::move(plan_);
  }

 private:
  // The value in the shape in which an operation wants it. Shapes only differ by flatten, which moves nothing.
  Value* use(const Named& from) {
    close(from.value);
    if (from.extent.channels == from.value->extent.channels && from.extent.rows == from.value->extent.rows)
      return from.value;
    return view_of(from.value, from.extent);
  }

  // ---- chains of pointwise layers
  struct Open {
    ChainOp* op;
    int stage;  // how much of the chain is filled; see Stage
    int last_node;
  };
  enum Stage { kEmpty, kFirstAffine, kActivation, kSecondAffine, kDropped, kPooled, kPoolDropped };

  void close(Value* value) {
    std::erase_if(open_, [&](const Open& each) { return each.op->output() == value; });
  }

  // The chain that this node can join, or a new one.
  Open& chain_with_room(const auto& has_room) {
    const int from = node().inputs[0];
    const Named input = only();
    for (Open& each : open_)
      if (each.op->output() == input.value && each.last_node == from && only_reader_of(from) &&
          input.extent.rows == input.value->extent.rows && input.extent.channels == input.value->extent.channels &&
          has_room(each)) {
        each.last_node = node_;
        each.op->add_node(node_);
        return each;
      }
    Value* const value = use(input);
    Value* const output = new_value(value->extent, value->trains);
    ChainOp* const op = emplace<ChainOp>(Input{value}, output, ChainLayers{});
    open_.push_back({op, kEmpty, node_});
    return open_.back();
  }

  void finish_chain_node(Open& chain, int stage, bool has_parameters = false) {
    chain.stage = stage;
    Value* const output = chain.op->output();
    output->extent = output_extent();
    output->trains = output->trains || has_parameters;
    value_of_[static_cast<std::size_t>(node_)] = {output, output->extent};
  }

  Open& chain_for_affine() {
    return chain_with_room([](const Open& c) {
      return c.stage == kEmpty || (c.stage == kActivation && !c.op->layers().norm && !c.op->layers().affine);
    });
  }

  void finish_affine(Open& chain, bool has_parameters) {
    const bool second = chain.stage == kActivation;
    chain.op->layers().activation_first = second;
    finish_chain_node(chain, second ? kSecondAffine : kFirstAffine, has_parameters);
  }

  template <class Norm>
  void add_batch_norm(const Norm& norm) {
    Open& chain = chain_for_affine();
    ChainLayers::Norm layer;
    layer.eps = norm.eps;
    layer.momentum = norm.momentum;
    layer.weight = use_parameter(Role::kWeight);
    layer.bias = use_parameter(Role::kBias);
    const network::NodeAnalysis& facts = analysis_.nodes[static_cast<std::size_t>(node_)];
    layer.running_mean = facts.tensors[static_cast<std::size_t>(Role::kRunningMean)];
    layer.running_variance = facts.tensors[static_cast<std::size_t>(Role::kRunningVariance)];
    layer.counter = facts.counter;
    chain.op->layers().norm = layer;
    finish_affine(chain, norm.affine);
    plan_.batch_norms.push_back({node().name, output_extent().positions(), norm.track_running_stats});
  }

  void add_chain_activation(ChainLayers::Activation activation, double slope) {
    // A monotonous function may as well be applied in front of a maximum.
    const bool monotonous = slope >= 0;
    Open& chain = chain_with_room([&](const Open& c) {
      const ChainLayers& layers = c.op->layers();
      const bool pooled_only =
          c.stage == kPooled && layers.activation == ChainLayers::Activation::kNone && layers.drop == kNoDrop;
      return c.stage < kActivation || (monotonous && pooled_only);
    });
    chain.op->layers().activation = activation;
    chain.op->layers().slope = slope;
    finish_chain_node(chain, std::max<int>(chain.stage, kActivation));
  }

  template <class Layer>
  void add_dropout(const Layer& layer, bool channels) {
    if (layer.probability == 0) {
      value_of_[static_cast<std::size_t>(node_)] = only();
      for (Open& each : open_)
        if (each.last_node == node().inputs[0] && only_reader_of(each.last_node)) each.last_node = node_;
      return;
    }
    Open& chain = chain_with_room(
        [](const Open& c) { return c.stage < kDropped || (c.stage == kPooled && c.op->layers().drop == kNoDrop); });
    ChainLayers& layers = chain.op->layers();
    layers.drop = layers.pool == kNoPool ? kDropBeforePool : kDropAfterPool;
    layers.drop_probability = layer.probability;
    layers.drop_always = layer.always;
    layers.drop_channels = channels;
    layers.drop_node = node_;
    finish_chain_node(chain, chain.stage == kPooled ? kPoolDropped : kDropped);
  }

  // ---- the layers
  void add(const network::BatchNorm2d& norm) { add_batch_norm(norm); }
  void add(const network::BatchNorm1d& norm) { add_batch_norm(norm); }
  void add(const network::ReLU&) { add_chain_activation(ChainLayers::Activation::kRelu, 0); }
  void add(const network::LeakyReLU& layer) {
    add_chain_activation(ChainLayers::Activation::kLeaky, layer.negative_slope);
  }
  void add(const network::Dropout& layer) { add_dropout(layer, false); }
  void add(const network::Dropout2d& layer) { add_dropout(layer, true); }

  void add(const network::ScaleShift& layer) {
    Open& chain = chain_for_affine();
    chain.op->layers().affine = ChainLayers::Affine{layer.scale, layer.shift};
    finish_affine(chain, false);
  }

  void add(const network::MaxPool2d& pool) {
    const Extent in = only().extent, out = output_extent();
    if (is_two_by_two(pool, in)) {
      Open& chain = chain_with_room([](const Open& c) { return c.stage < kPooled; });
      chain.op->layers().pool = kMaxPool;
      return finish_chain_node(chain, kPooled);
    }
    add_pool(Pooling::kMaximum,
             pool_windows(in.rows, out.rows, pool.kernel.height, pool.stride.height, pool.padding.height,
                          pool.dilation.height, false),
             pool_windows(in.columns, out.columns, pool.kernel.width, pool.stride.width, pool.padding.width,
                          pool.dilation.width, false));
  }

  void add(const network::AvgPool2d& pool) {
    const Extent in = only().extent, out = output_extent();
    add_pool(Pooling::kAverage,
             pool_windows(in.rows, out.rows, pool.kernel.height, pool.stride.height, pool.padding.height, 1,
                          pool.count_include_pad),
             pool_windows(in.columns, out.columns, pool.kernel.width, pool.stride.width, pool.padding.width, 1,
                          pool.count_include_pad));
  }

  void add(const network::AdaptiveAvgPool2d& pool) {
    const Extent in = only().extent;
    add_pool(Pooling::kAverage, adaptive_windows(in.rows, pool.output.height),
             adaptive_windows(in.columns, pool.output.width));
  }

  void add_pool(Pooling pooling, PoolWindows rows, PoolWindows columns) {
    Value* const in = use(only());
    emplace<PoolOp>(Input{in}, result(output_extent(), {in}, false).value, pooling, std::move(rows),
                    std::move(columns));
  }

  void add(const network::Amax& amax) {
    const Extent from = extent_around(input_shape(), amax.dimension);
    Value* const in = use({only().value, from});
    Value* const out = result({from.channels, 1, from.columns}, {in}, false).value;
    emplace<PoolOp>(Input{in}, out, Pooling::kAmax, adaptive_windows(from.rows, 1),
                    adaptive_windows(from.columns, from.columns));
    value_of_[static_cast<std::size_t>(node_)] = {out, output_extent()};
  }

  // The only reader of a chain computes it where it needs it; anybody else takes a value.
  Source source() {
    int from = node().inputs[0];
    const Named input = only();
    while (from >= 0 && only_reader_of(from) && is_free(from))
      from = graph_.nodes[static_cast<std::size_t>(from)].inputs[0];
    for (const Open& each : open_)
      if (each.op->output() == input.value && (each.last_node == from || each.last_node == node().inputs[0]) &&
          only_reader_of(from)) {
        ChainOp* const chain = each.op;
        chain->make_lazy();
        lazy_.push_back(chain->output());
        close(input.value);
        return {input.value, chain};
      }
    return {use(input), nullptr};
  }

  bool is_free(int index) const {
    return std::holds_alternative<network::Flatten>(graph_.nodes[static_cast<std::size_t>(index)].layer);
  }

  void add(const network::Conv2d& conv) {
    const Extent in = only().extent, out = output_extent();
    const bool whole_map = conv.groups == 1 && out.positions() == 1 && conv.kernel.height == in.rows &&
                           conv.kernel.width == in.columns && conv.padding == network::Border{};
    if (whole_map) return add_linear(out);
    const Source from = source();
    const Named to = result(out, {from.value}, true);
    emplace<ConvolutionOp>(kernels_, conv, from, to.value, use_parameter(Role::kWeight), use_parameter(Role::kBias),
                           equal_bits_);
  }

  void add(const network::Linear&) { add_linear(output_extent()); }

  void add_linear(const Extent& out) {
    const int weight = use_parameter(Role::kWeight), bias = use_parameter(Role::kBias);
    const Source from = source();
    const Named to = result(out, {from.value}, true);
    const std::int64_t weights = from.extent().elements() * out.elements();
    if (weights > kBatchLinearWeights)
      emplace<BatchLinearOp>(from, to.value, weight, bias);
    else
      emplace<BlockLinearOp>(from, to.value, weight, bias);
  }

  void add_view() { value_of_[static_cast<std::size_t>(node_)] = {only().value, output_extent()}; }
  void add(const network::Flatten&) { add_view(); }
  void add(const network::Reshape&) { add_view(); }

  void add_activation(Activation activation, ActivationParameters parameters = {}, ActivationOp::Slopes slopes = {}) {
    Value* const in = use(only());
    emplace<ActivationOp>(Input{in}, result(in->extent, {in}, slopes.count > 0).value, activation, parameters, slopes);
  }
  void add(const network::Tanh&) { add_activation(kTanh); }
  void add(const network::Sigmoid&) { add_activation(kSigmoid); }
  void add(const network::SiLU&) { add_activation(kSilu); }
  void add(const network::ReLU6&) { add_activation(kRelu6); }
  void add(const network::Hardswish&) { add_activation(kHardswish); }
  void add(const network::Mish&) { add_activation(kMish); }
  void add(const network::Reciprocal&) { add_activation(kReciprocal); }
  void add(const network::Softplus& layer) { add_activation(kSoftplus, {layer.beta, layer.threshold}); }
  void add(const network::ELU& layer) { add_activation(kElu, {layer.alpha}); }
  void add(const network::GELU& layer) { add_activation(layer.tanh_approximation ? kGeluTanh : kGelu); }
  void add(const network::PReLU& layer) { add_activation(kPrelu, {}, {use_parameter(Role::kWeight), layer.count}); }

  void add_softmax(bool logarithm) {
    Value* const in = use(only());
    emplace<SoftmaxOp>(Input{in}, result(in->extent, {in}, false).value, logarithm);
  }
  void add(const network::LogSoftmax&) { add_softmax(true); }
  void add(const network::Softmax&) { add_softmax(false); }

  std::vector<Value*> all_inputs() {
    std::vector<Value*> values;
    for (const int from : node().inputs) values.push_back(use(named(from)));
    return values;
  }

  void add(const network::Add&) {
    const std::vector<Value*> values = all_inputs();
    emplace<AddOp>(as_inputs(values), joined_result(values).value);
  }

  void add(const network::Multiply&) {
    const std::vector<Value*> values = all_inputs();
    emplace<MultiplyOp>(as_inputs(values), joined_result(values).value);
  }

  void add_rearrangement(std::vector<RearrangeOp::Element> elements) {
    const std::vector<Value*> values = all_inputs();
    emplace<RearrangeOp>(as_inputs(values), joined_result(values).value, std::move(elements));
  }

  void add(const network::Detach&) {
    Value* const in = use(only());
    emplace<DetachOp>(Input{in}, result(in->extent, {}, false).value);
  }

  void add(const network::Expand& expand) {
    add_rearrangement(strided_elements(expand.shape, expanded_strides(expand.shape), 0));
  }

  void add(const network::Concat&) {
    std::vector<RearrangeOp::Element> elements;
    for (std::size_t i = 0; i < node().inputs.size(); ++i)
      for (std::int64_t e = 0; e < named(node().inputs[i]).extent.elements(); ++e)
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

  void add(const network::Pad& pad) { add_rearrangement(padded_elements(pad, only().extent, output_extent())); }

  void add_norm(NormOp::Layout layout, double eps) {
    layout.eps = eps;
    layout.weight = use_parameter(Role::kWeight);
    layout.bias = use_parameter(Role::kBias);
    if (layout.weight < 0) layout.weights = 0;
    Value* const in = use(only());
    emplace<NormOp>(Input{in}, result(in->extent, {in}, layout.weight >= 0).value, layout);
  }
  // A weight for each channel.
  void add_channel_norm(std::int64_t groups, double eps) {
    const Extent in = only().extent;
    NormOp::Layout layout;
    layout.groups = groups;
    layout.weights = layout.weight_modulus = in.channels;
    layout.weight_divisor = in.positions();
    add_norm(layout, eps);
  }
  void add(const network::GroupNorm& norm) { add_channel_norm(norm.groups, norm.eps); }
  void add(const network::InstanceNorm2d& norm) { add_channel_norm(only().extent.channels, norm.eps); }
  void add(const network::LayerNorm& norm) {
    const std::int64_t length = network::element_count(norm.normalized_shape);
    NormOp::Layout layout;
    layout.groups = only().extent.elements() / length;
    layout.weights = layout.weight_modulus = length;
    add_norm(layout, norm.eps);
  }

  const KernelTable& kernels_;
  EqualBits equal_bits_ = EqualBits::kNotNeeded;
  std::vector<Value*> lazy_;
  std::vector<Open> open_;
};

}  // namespace

std::optional<std::string> unsupported(const network::Graph& graph) {
  for (const network::Node& node : graph.nodes) {
    const auto* norm = std::get_if<network::InstanceNorm2d>(&node.layer);
    if (norm != nullptr && norm->track_running_stats)
      return common::text("node '", node.name, "': instancenorm2d with running statistics has no lanes kernel");
  }
  if (graph.nodes.empty()) return "the network has no layers";
  return std::nullopt;
}

Plan compile(const network::Graph& graph, const network::Analysis& analysis, const KernelTable& kernels) {
  return Compiler(graph, analysis, kernels).compile();
}

}  // namespace mnistcnn::engine::lanes
