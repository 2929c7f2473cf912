#include "mnistcnn/network/analysis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <type_traits>

#include "mnistcnn/common/text.h"

namespace mnistcnn::network {
namespace {

using common::bracketed;
using common::text;

// Limits that prevent overflow. They are checked before numbers are multiplied.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 31;  // of one tensor of a layer
constexpr std::int64_t kMaxMacs = std::int64_t{1} << 62;      // of a network, per image

// A tensor that a layer requires, with PyTorch's name.
struct TensorRequirement {
  const char* suffix;
  Role role;
  Shape shape;
};

// Properties of one layer for given input shapes.
struct LayerInfo {
  Shape output;
  std::vector<TensorRequirement> parameters, buffers;
  std::int64_t macs = 0;
  Pair kernel, stride;                // for the receptive field
  bool covers_all_positions = false;  // whether each output depends on all positions of the inputs
  bool counts_batches = false;
};

// Computes the LayerInfo of a node. Throws std::invalid_argument with the name of the node if a layer is invalid.
class LayerAnalyzer {
 public:
  LayerAnalyzer(const Node& node, const std::vector<Shape>& inputs) : node_(node), inputs_(inputs) {}

  LayerInfo operator()(const Conv2d& conv) const {
    const Shape& in = feature_map("convolution");
    check_positive("out_channels", conv.out_channels);
    check_positive("groups", conv.groups);
    check_positive("kernel", conv.kernel);
    check_positive("stride", conv.stride);
    check_positive("dilation", conv.dilation);
    check_not_negative("padding", {conv.padding.top, conv.padding.bottom, conv.padding.left, conv.padding.right});
    if (in[0] % conv.groups != 0 || conv.out_channels % conv.groups != 0)
      fail(text("groups=", conv.groups, " must divide both the ", in[0], " input channels and the ", conv.out_channels,
                " output channels"));
    const std::int64_t rows = extent("height", in[1] + conv.padding.top + conv.padding.bottom, conv.kernel.height,
                                     conv.stride.height, conv.dilation.height);
    const std::int64_t columns = extent("width", in[2] + conv.padding.left + conv.padding.right, conv.kernel.width,
                                        conv.stride.width, conv.dilation.width);
    LayerInfo info;
    info.output = {conv.out_channels, rows, columns};
    const Shape weight{conv.out_channels, in[0] / conv.groups, conv.kernel.height, conv.kernel.width};
    info.parameters.push_back({"weight", Role::kWeight, weight});
    if (conv.bias) info.parameters.push_back({"bias", Role::kBias, {conv.out_channels}});
    checked_count(info.output);
    info.macs = checked_count(weight) * rows * columns;  // both factors are at most kMaxElements
    info.kernel = dilated(conv.kernel, conv.dilation);
    info.stride = conv.stride;
    return info;
  }

  LayerInfo operator()(const Linear& linear) const {
    const Shape& in = single_input();
    if (in.size() != 1)
      fail(text("requires a flat input [features], got ", bracketed(in), "; put a Flatten() before it"));
    check_positive("out_features", linear.out_features);
    LayerInfo info;
    info.output = {linear.out_features};
    info.parameters.push_back({"weight", Role::kWeight, {linear.out_features, in[0]}});
    if (linear.bias) info.parameters.push_back({"bias", Role::kBias, {linear.out_features}});
    info.macs = checked_count({linear.out_features, in[0]});
    info.covers_all_positions = true;
    return info;
  }

  LayerInfo operator()(const BatchNorm2d& norm) const { return running_norm(norm, feature_map("batch norm 2d")); }
  LayerInfo operator()(const InstanceNorm2d& norm) const {
    const Shape& in = feature_map("instance norm 2d");
    if (in[1] * in[2] < 2) fail(text("requires more than one position to normalize over, got input ", bracketed(in)));
    return running_norm(norm, in);
  }
  LayerInfo operator()(const BatchNorm1d& norm) const {
    if (single_input().size() != 1)
      fail(text("batch norm 1d requires a flat input [features], got ", bracketed(single_input()),
                "; use BatchNorm2d for feature maps"));
    return running_norm(norm, single_input());
  }

  LayerInfo operator()(const GroupNorm& norm) const {
    check_positive("groups", norm.groups);
    check_positive_number("eps", norm.eps);
    if (single_input()[0] % norm.groups != 0)
      fail(text("groups=", norm.groups, " must divide the ", single_input()[0], " channels"));
    LayerInfo info = same_shape();
    if (norm.affine) add_affine(info, {single_input()[0]}, true);
    return info;
  }

  LayerInfo operator()(const LayerNorm& norm) const {
    const Shape& in = single_input();
    check_positive_number("eps", norm.eps);
    const bool fits = !norm.normalized_shape.empty() && norm.normalized_shape.size() <= in.size() &&
                      std::equal(norm.normalized_shape.rbegin(), norm.normalized_shape.rend(), in.rbegin());
    if (!fits)
      fail(text("normalized_shape ", bracketed(norm.normalized_shape), " must equal the last dimensions of the input ",
                bracketed(in)));
    LayerInfo info = same_shape();
    if (norm.affine) add_affine(info, norm.normalized_shape, norm.bias);
    return info;
  }

  LayerInfo operator()(const MaxPool2d& pool) const {
    const Shape& in = feature_map("max pooling");
    check_positive("dilation", pool.dilation);
    return pooling(pool, in, pool.dilation);
  }
  LayerInfo operator()(const AvgPool2d& pool) const { return pooling(pool, feature_map("average pooling"), Pair{}); }

  LayerInfo operator()(const AdaptiveAvgPool2d& pool) const {
    const Shape& in = feature_map("adaptive average pooling");
    check_positive("output", pool.output);
    LayerInfo info;
    info.output = {in[0], pool.output.height, pool.output.width};
    // The largest window has ceil(input size / output size) positions.
    info.kernel = {(in[1] + pool.output.height - 1) / pool.output.height,
                   (in[2] + pool.output.width - 1) / pool.output.width};
    info.stride = {std::max<std::int64_t>(1, in[1] / pool.output.height),
                   std::max<std::int64_t>(1, in[2] / pool.output.width)};
    return info;
  }

  LayerInfo operator()(const Flatten&) const {
    LayerInfo info;
    info.output = {checked_count(single_input())};
    info.covers_all_positions = true;
    return info;
  }

  LayerInfo operator()(const PReLU& layer) const {
    if (layer.count != 1 && layer.count != single_input()[0])
      fail(text("count=", layer.count, " must be 1 or the number of channels, ", single_input()[0]));
    LayerInfo info = same_shape();
    info.parameters.push_back({"weight", Role::kWeight, {layer.count}});
    return info;
  }

  LayerInfo operator()(const Dropout& layer) const { return dropout(layer.probability); }
  LayerInfo operator()(const Dropout2d& layer) const {
    feature_map("dropout 2d");
    return dropout(layer.probability);
  }

  LayerInfo operator()(const Add&) const {
    check_at_least_two_inputs();
    for (const Shape& shape : inputs_)
      if (shape != inputs_[0])
        fail(text("requires inputs of the same shape, got ", bracketed(inputs_[0]), " and ", bracketed(shape)));
    return with_output(inputs_[0]);
  }

  LayerInfo operator()(const Concat&) const {
    check_at_least_two_inputs();
    Shape output = inputs_[0];
    for (std::size_t i = 1; i < inputs_.size(); ++i) {
      const Shape& shape = inputs_[i];
      if (shape.size() != output.size() || !std::equal(shape.begin() + 1, shape.end(), output.begin() + 1))
        fail(text("requires inputs of the same height and width, got ", bracketed(inputs_[0]), " and ",
                  bracketed(shape)));
      output[0] += shape[0];
    }
    return with_output(output);
  }

  LayerInfo operator()(const Multiply&) const {
    if (inputs_.size() != 2) fail(text("requires two inputs, got ", inputs_.size()));
    const Shape &first = inputs_[0], &second = inputs_[1];
    bool fits = first.size() == second.size();
    for (std::size_t i = 0; fits && i < first.size(); ++i) fits = second[i] == first[i] || second[i] == 1;
    if (!fits)
      fail(text("the second input ", bracketed(second), " must be broadcastable to the first ", bracketed(first),
                ": each dimension must be equal or 1"));
    return with_output(first);
  }

  LayerInfo operator()(const Reshape& reshape) const {
    const Shape& in = single_input();
    if (reshape.shape.size() != 1 && reshape.shape.size() != 3)
      fail(text("shape ", bracketed(reshape.shape), " must be [channels, height, width] or [features]"));
    for (const std::int64_t size : reshape.shape) check_positive("shape", size);
    if (checked_count(reshape.shape) != checked_count(in))
      fail(text("shape ", bracketed(reshape.shape), " must have as many elements as the input ", bracketed(in)));
    LayerInfo info = with_output(reshape.shape);
    info.covers_all_positions = true;
    return info;
  }

  LayerInfo operator()(const Pad& pad) const {
    const Shape& in = feature_map("padding");
    const Border& border = pad.padding;
    check_not_negative("padding", {border.top, border.bottom, border.left, border.right});
    const std::int64_t rows = std::max(border.top, border.bottom), columns = std::max(border.left, border.right);
    if (pad.mode == "reflect" && (rows >= in[1] || columns >= in[2]))
      fail(text("reflection padding must be smaller than the input ", bracketed(in)));
    if (pad.mode == "circular" && (rows > in[1] || columns > in[2]))
      fail(text("circular padding must not be larger than the input ", bracketed(in)));
    if (pad.mode != "constant" && pad.mode != "reflect" && pad.mode != "replicate" && pad.mode != "circular")
      fail(text("mode '", pad.mode, "' must be 'constant', 'reflect', 'replicate' or 'circular'"));
    return with_output({in[0], in[1] + border.top + border.bottom, in[2] + border.left + border.right});
  }

  LayerInfo operator()(const Permute& permute) const {
    const Shape& in = single_input();
    Shape sorted = permute.order;
    std::sort(sorted.begin(), sorted.end());
    bool is_permutation = sorted.size() == in.size();
    for (std::size_t i = 0; is_permutation && i < sorted.size(); ++i)
      is_permutation = sorted[i] == static_cast<std::int64_t>(i);
    if (!is_permutation)
      fail(text("order ", bracketed(permute.order), " must contain each dimension of the input ", bracketed(in),
                " once, counted from 0 without the batch"));
    LayerInfo info;
    for (const std::int64_t from : permute.order) info.output.push_back(in[static_cast<std::size_t>(from)]);
    return info;
  }

  LayerInfo operator()(const Slice& slice) const {
    const Shape& in = single_input();
    if (slice.dimension < 0 || slice.dimension >= static_cast<std::int64_t>(in.size()))
      fail(text("dimension ", slice.dimension, " is out of range for the input ", bracketed(in)));
    check_positive("step", slice.step);
    LayerInfo info = same_shape();
    std::int64_t& size = info.output[static_cast<std::size_t>(slice.dimension)];
    if (slice.start < 0 || slice.stop > size || slice.start >= slice.stop)
      fail(text("start=", slice.start, ", stop=", slice.stop, " must satisfy 0 <= start < stop <= ", size));
    size = (slice.stop - slice.start + slice.step - 1) / slice.step;
    if (in.size() == 3 && slice.dimension == 1) info.stride.height = slice.step;
    if (in.size() == 3 && slice.dimension == 2) info.stride.width = slice.step;
    return info;
  }

  LayerInfo operator()(const Expand& expand) const {
    const Shape& in = single_input();
    bool fits = in.size() == expand.shape.size();
    for (std::size_t i = 0; fits && i < in.size(); ++i) fits = in[i] == expand.shape[i] || in[i] == 1;
    if (!fits)
      fail(text("cannot expand the input ", bracketed(in), " to shape ", bracketed(expand.shape),
                "; only dimensions of size 1 can change"));
    for (const std::int64_t size : expand.shape) check_positive("shape", size);
    return with_output(expand.shape);
  }

  LayerInfo operator()(const Amax& amax) const {
    const Shape& in = single_input();
    if (amax.dimension < 0 || amax.dimension >= static_cast<std::int64_t>(in.size()))
      fail(text("dimension ", amax.dimension, " is out of range for the input ", bracketed(in)));
    LayerInfo info = same_shape();
    info.output[static_cast<std::size_t>(amax.dimension)] = 1;
    info.covers_all_positions = in.size() == 1 || amax.dimension > 0;
    return info;
  }

  LayerInfo operator()(const Softplus& layer) const {
    if (std::abs(layer.beta) < std::numeric_limits<float>::min())
      fail(text("beta must not be 0 in float32, got ", layer.beta));
    return same_shape();
  }

  LayerInfo operator()(const LogSoftmax&) const { return same_shape(); }
  LayerInfo operator()(const Softmax&) const { return same_shape(); }
  LayerInfo operator()(const auto&) const { return same_shape(); }  // activations and other pointwise layers

  // Throw unless every number of a layer is finite in float32.
  void check_numbers() const {
    const auto check = [&](const char* name, const auto& value) {
      if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>)
        if (!(std::abs(value) <= std::numeric_limits<float>::max()))
          fail(text(name, " must be a finite float32 number, got ", value));
    };
    std::visit([&](const auto& layer) { layer.visit(layer, check); }, node_.layer);
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw std::invalid_argument(text("node '", node_.name, "' (", op_name(node_.layer), "): ", reason));
  }

  std::int64_t checked_count(const Shape& shape) const {
    const std::optional<std::int64_t> count = product_up_to(kMaxElements, shape);
    if (!count)
      fail(text("a tensor of shape ", bracketed(shape), " is too large; it can have at most ", kMaxElements,
                " elements"));
    return *count;
  }

 private:
  const Shape& single_input() const {
    if (inputs_.size() != 1) fail(text("requires one input, got ", inputs_.size()));
    return inputs_[0];
  }

  const Shape& feature_map(const char* what) const {
    const Shape& in = single_input();
    if (in.size() != 3) fail(text(what, " requires a feature map [channels, height, width], got ", bracketed(in)));
    return in;
  }

  void check_at_least_two_inputs() const {
    if (inputs_.size() < 2) fail(text("requires two or more inputs, got ", inputs_.size()));
  }

  void check_positive(const char* name, std::int64_t value) const {
    if (value < 1) fail(text(name, " must be at least 1, got ", value));
    check_limit(name, value);
  }
  void check_limit(const char* name, std::int64_t value) const {
    if (value > kMaxElements) fail(text(name, " must be at most ", kMaxElements, ", got ", value));
  }
  void check_positive(const char* name, const Pair& pair) const {
    check_positive(name, pair.height);
    check_positive(name, pair.width);
  }
  void check_positive_number(const char* name, double value) const {
    constexpr double kSmallest = std::numeric_limits<float>::min();
    if (!(value >= kSmallest)) fail(text(name, " must be at least ", kSmallest, ", got ", value));
  }
  void check_not_negative(const char* name, std::initializer_list<std::int64_t> values) const {
    for (const std::int64_t value : values) {
      if (value < 0) fail(text(name, " must be at least 0, got ", value));
      check_limit(name, value);
    }
  }

  // Return the size of a kernel with its gaps.
  static Pair dilated(const Pair& kernel, const Pair& dilation) {
    return {dilation.height * (kernel.height - 1) + 1, dilation.width * (kernel.width - 1) + 1};
  }

  std::int64_t extent(const char* direction, std::int64_t padded, std::int64_t kernel, std::int64_t stride,
                      std::int64_t dilation) const {
    const std::int64_t effective_kernel = dilation * (kernel - 1) + 1;
    if (effective_kernel > padded)
      fail(text("the kernel's ", direction, " ", effective_kernel, " is larger than the padded input's ", padded,
                " (input ", bracketed(inputs_[0]), ")"));
    return (padded - effective_kernel) / stride + 1;
  }

  LayerInfo same_shape() const { return with_output(single_input()); }

  LayerInfo with_output(const Shape& output) const {
    LayerInfo info;
    info.output = output;
    return info;
  }

  LayerInfo dropout(double probability) const {
    if (!(probability >= 0 && probability <= 1)) fail(text("probability must be between 0 and 1, got ", probability));
    return same_shape();
  }

  void add_affine(LayerInfo& info, const Shape& shape, bool bias) const {
    info.parameters.push_back({"weight", Role::kWeight, shape});
    if (bias) info.parameters.push_back({"bias", Role::kBias, shape});
  }

  template <class Norm>
  LayerInfo running_norm(const Norm& norm, const Shape& in) const {
    check_positive_number("eps", norm.eps);
    if (norm.momentum > 1) fail(text("momentum must be at most 1, got ", norm.momentum));
    LayerInfo info = same_shape();
    if (norm.affine) add_affine(info, {in[0]}, true);
    if (norm.track_running_stats) {
      info.buffers.push_back({"running_mean", Role::kRunningMean, {in[0]}});
      info.buffers.push_back({"running_var", Role::kRunningVariance, {in[0]}});
      info.counts_batches = true;
    }
    return info;
  }

  template <class Pool>
  LayerInfo pooling(const Pool& pool, const Shape& in, const Pair& dilation) const {
    check_positive("kernel", pool.kernel);
    check_positive("stride", pool.stride);
    check_not_negative("padding", {pool.padding.height, pool.padding.width});
    if (2 * pool.padding.height > pool.kernel.height || 2 * pool.padding.width > pool.kernel.width)
      fail(text("padding [", pool.padding.height, ", ", pool.padding.width, "] must be at most half of the kernel [",
                pool.kernel.height, ", ", pool.kernel.width, "]"));
    LayerInfo info;
    info.output = {in[0],
                   pool_extent("height", in[1], pool.padding.height, pool.kernel.height, pool.stride.height,
                               dilation.height, pool.ceil_mode),
                   pool_extent("width", in[2], pool.padding.width, pool.kernel.width, pool.stride.width, dilation.width,
                               pool.ceil_mode)};
    info.kernel = dilated(pool.kernel, dilation);
    info.stride = pool.stride;
    return info;
  }

  std::int64_t pool_extent(const char* direction, std::int64_t size, std::int64_t padding, std::int64_t kernel,
                           std::int64_t stride, std::int64_t dilation, bool ceil_mode) const {
    const std::int64_t floor_extent = extent(direction, size + 2 * padding, kernel, stride, dilation);
    if (!ceil_mode) return floor_extent;
    const std::int64_t span = size + 2 * padding - (dilation * (kernel - 1) + 1);
    const std::int64_t ceil_extent = (span + stride - 1) / stride + 1;
    // As in PyTorch, the last window must start inside the input or its leading padding.
    return (ceil_extent - 1) * stride >= size + padding ? ceil_extent - 1 : ceil_extent;
  }

  const Node& node_;
  const std::vector<Shape>& inputs_;
};

// Computes the Analysis of a graph.
class GraphAnalyzer {
 public:
  explicit GraphAnalyzer(const Graph& graph) : graph_(graph) {}

  Analysis run() {
    if (graph_.input_shape.size() != 3 ||
        std::any_of(graph_.input_shape.begin(), graph_.input_shape.end(), [](auto size) { return size < 1; }))
      throw std::invalid_argument(
          text("input_shape must be [channels, height, width], each at least 1; got ", bracketed(graph_.input_shape)));
    if (!product_up_to(kMaxElements, graph_.input_shape))
      throw std::invalid_argument(text("input_shape ", bracketed(graph_.input_shape),
                                       " is too large; an image can have ", "at most ", kMaxElements, " elements"));
    if (graph_.nodes.empty()) throw std::invalid_argument("a network needs at least one layer");
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) add_node(static_cast<int>(i));
    return std::move(analysis_);
  }

 private:
  void add_node(int index) {
    const Node& node = graph_.nodes[static_cast<std::size_t>(index)];
    NodeAnalysis result;
    result.input_shapes = shapes_of_inputs(node, index);
    const LayerAnalyzer analyzer(node, result.input_shapes);
    check_name(node, analyzer);
    analyzer.check_numbers();
    const LayerInfo info = std::visit(analyzer, node.layer);
    result.output_shape = info.output;
    result.activation_bytes = 4 * analyzer.checked_count(info.output);
    result.macs = info.macs;
    for (const TensorRequirement& requirement : info.parameters)
      result.parameters += add_tensor(analysis_.parameters, analysis_.parameter_count, requirement, index, result);
    for (const TensorRequirement& requirement : info.buffers)
      result.buffers += add_tensor(analysis_.buffers, analysis_.buffer_count, requirement, index, result);
    if (info.counts_batches) add_counter(index, result);
    set_receptive_field(result, node, info);
    if (result.macs > kMaxMacs - analysis_.macs)
      throw std::invalid_argument(text("the network needs more than ", kMaxMacs, " multiply-accumulate operations"));
    analysis_.macs += result.macs;
    analysis_.activation_bytes += result.activation_bytes;
    analysis_.nodes.push_back(std::move(result));
  }

  std::vector<Shape> shapes_of_inputs(const Node& node, int index) const {
    if (node.inputs.empty()) throw std::invalid_argument(text("node '", node.name, "' has no input"));
    std::vector<Shape> shapes;
    for (const int input : node.inputs) {
      if (input < kInputImage || input >= index)
        throw std::invalid_argument(text("node '", node.name, "' takes the output of node ", input,
                                         ", which does not come before it (it is node ", index, ")"));
      shapes.push_back(input == kInputImage ? graph_.input_shape
                                            : analysis_.nodes[static_cast<std::size_t>(input)].output_shape);
    }
    return shapes;
  }

  void check_name(const Node& node, const LayerAnalyzer& analyzer) {
    if (node.name.empty()) analyzer.fail("the node must have a name");
    if (!names_.insert(node.name).second) analyzer.fail("another node has the same name");
  }

  // Return the number of new elements: 0 for a shared tensor.
  std::int64_t add_tensor(std::vector<TensorSpec>& list, std::int64_t& total, const TensorRequirement& requirement,
                          int index, NodeAnalysis& result) {
    const std::int64_t count = element_count(requirement.shape);
    const std::string name = graph_.nodes[static_cast<std::size_t>(index)].name + "." + requirement.suffix;
    int& tensor_index = result.tensors[static_cast<std::size_t>(requirement.role)];
    if (const SharedTensor* shared = find_shared(index, requirement.role)) {
      tensor_index = index_of_owner_tensor(*shared, name);
      const TensorSpec& spec = list[static_cast<std::size_t>(tensor_index)];
      if (spec.count != count)
        throw std::invalid_argument(text("'", name, "' ", bracketed(requirement.shape), " cannot share '", spec.name,
                                         "' ", bracketed(spec.shape), ": they differ in size"));
      return 0;
    }
    tensor_index = static_cast<int>(list.size());
    list.push_back({name, requirement.shape, requirement.role, index, total, count});
    total += count;
    return count;
  }

  void add_counter(int index, NodeAnalysis& result) {
    if (const SharedTensor* shared = find_shared(index, Role::kRunningMean)) {
      result.counter = analysis_.nodes[static_cast<std::size_t>(shared->owner)].counter;
      return;
    }
    result.counter = static_cast<int>(analysis_.counters.size());
    analysis_.counters.push_back(index);
    ++result.buffers;
  }

  const SharedTensor* find_shared(int node, Role role) const {
    for (const SharedTensor& each : graph_.shared)
      if (each.node == node && each.role == role) return &each;
    return nullptr;
  }

  int index_of_owner_tensor(const SharedTensor& shared, const std::string& name) const {
    const bool earlier = shared.owner >= 0 && shared.owner < shared.node;
    const int tensor_index =
        earlier ? analysis_.nodes[static_cast<std::size_t>(shared.owner)].tensors[static_cast<std::size_t>(shared.role)]
                : -1;
    if (tensor_index < 0)
      throw std::invalid_argument(text("'", name, "' cannot be shared: node ", shared.owner,
                                       " has no such tensor, or does not come before it"));
    return tensor_index;
  }

  // By convention norms do not increase the receptive field. With several inputs, the maximum over the inputs counts.
  void set_receptive_field(NodeAnalysis& result, const Node& node, const LayerInfo& info) const {
    bool covers_all_positions = info.covers_all_positions;
    Pair field, jump;
    for (const int input : node.inputs) {
      if (input == kInputImage) continue;
      const NodeAnalysis& before = analysis_.nodes[static_cast<std::size_t>(input)];
      covers_all_positions = covers_all_positions || before.receptive_field == Pair{0, 0};
      field = {std::max(field.height, before.receptive_field.height),
               std::max(field.width, before.receptive_field.width)};
      jump = {std::max(jump.height, before.jump.height), std::max(jump.width, before.jump.width)};
    }
    if (covers_all_positions) return;
    result.receptive_field = {grown(node, field.height, info.kernel.height, jump.height),
                              grown(node, field.width, info.kernel.width, jump.width)};
    result.jump = {product(node, jump.height, info.stride.height), product(node, jump.width, info.stride.width)};
  }

  static std::int64_t grown(const Node& node, std::int64_t field, std::int64_t kernel, std::int64_t jump) {
    const std::int64_t growth = kernel == 1 ? 0 : product(node, kernel - 1, jump);
    if (field > kMaxElements) fail_receptive_field(node);
    return field + growth;
  }

  static std::int64_t product(const Node& node, std::int64_t a, std::int64_t b) {
    const auto result = product_up_to(kMaxElements, {a, b});
    if (!result) fail_receptive_field(node);
    return *result;
  }

  [[noreturn]] static void fail_receptive_field(const Node& node) {
    throw std::invalid_argument(text("node '", node.name, "': the receptive field or the product of the strides is ",
                                     "larger than ", kMaxElements));
  }

  const Graph& graph_;
  Analysis analysis_;
  std::set<std::string> names_;
};

bool uses_batch_statistics(const Layer& layer, bool training) {
  if (const auto* norm = std::get_if<BatchNorm2d>(&layer)) return training || !norm->track_running_stats;
  if (const auto* norm = std::get_if<BatchNorm1d>(&layer)) return training || !norm->track_running_stats;
  return false;
}

}  // namespace

Analysis analyse(const Graph& graph) { return GraphAnalyzer(graph).run(); }

const TensorSpec* Analysis::find(int node, Role role) const {
  const int tensor_index = nodes[static_cast<std::size_t>(node)].tensors[static_cast<std::size_t>(role)];
  if (tensor_index < 0) return nullptr;
  const bool is_parameter = role == Role::kWeight || role == Role::kBias;
  return &(is_parameter ? parameters : buffers)[static_cast<std::size_t>(tensor_index)];
}

void check_batch(const Graph& graph, const Analysis& analysis, std::int64_t images, bool training) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!uses_batch_statistics(node.layer, training)) continue;
    const Shape& shape = analysis.nodes[i].output_shape;
    if (images > 1 || (images == 1 && element_count(shape) > shape[0])) continue;
    throw std::invalid_argument(text("node '", node.name, "' (", op_name(node.layer),
                                     "): requires more than one value per ", "channel, got input ", bracketed(shape),
                                     " with batch size ", images, "; use a larger batch"));
  }
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::optional<std::int64_t> product_up_to(std::int64_t limit, const Shape& numbers) {
  std::int64_t product = 1;
  for (const std::int64_t number : numbers) {
    if (number > limit / product) return std::nullopt;
    product *= number;
  }
  return product;
}

}  // namespace mnistcnn::network
