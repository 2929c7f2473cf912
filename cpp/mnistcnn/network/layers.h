#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// Descriptions of the layers; the engines implement them. Each struct lists its fields in `visit`. Printing, storing
// and the conversion from and to Python use this list.
namespace mnistcnn::network {

using Shape = std::vector<std::int64_t>;  // without the batch dimension: [channels, height, width] or [features]

struct Pair {
  std::int64_t height = 1, width = 1;
  bool operator==(const Pair&) const = default;
};

// Padding of a feature map with zeros (minus infinity for max pooling). Opposite sides differ only for padding="same"
// with an even effective kernel size.
struct Border {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool operator==(const Border&) const = default;
};

struct Conv2d {
  static constexpr std::string_view kOp = "conv2d";
  std::int64_t out_channels = 0;
  Pair kernel, stride;
  Border padding;
  Pair dilation;
  std::int64_t groups = 1;
  bool bias = true;
  bool operator==(const Conv2d&) const = default;
  static void visit(auto& self, auto&& field) {
    field("out_channels", self.out_channels);
    field("kernel", self.kernel);
    field("stride", self.stride);
    field("padding", self.padding);
    field("dilation", self.dilation);
    field("groups", self.groups);
    field("bias", self.bias);
  }
};

struct Linear {
  static constexpr std::string_view kOp = "linear";
  std::int64_t out_features = 0;
  bool bias = true;
  bool operator==(const Linear&) const = default;
  static void visit(auto& self, auto&& field) {
    field("out_features", self.out_features);
    field("bias", self.bias);
  }
};

// Fields of the batch norms and the instance norm. momentum < 0: cumulative moving average (momentum=None in PyTorch).
template <class Derived>
struct RunningNorm {
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = true;
  bool track_running_stats = true;
  bool operator==(const RunningNorm&) const = default;
  static void visit(auto& self, auto&& field) {
    field("eps", self.eps);
    field("momentum", self.momentum);
    field("affine", self.affine);
    field("track_running_stats", self.track_running_stats);
  }
};

struct BatchNorm2d : RunningNorm<BatchNorm2d> {
  static constexpr std::string_view kOp = "batchnorm2d";
};

struct BatchNorm1d : RunningNorm<BatchNorm1d> {
  static constexpr std::string_view kOp = "batchnorm1d";
};

struct InstanceNorm2d : RunningNorm<InstanceNorm2d> {
  static constexpr std::string_view kOp = "instancenorm2d";
  InstanceNorm2d() : RunningNorm{1e-5, 0.1, false, false} {}
};

struct GroupNorm {
  static constexpr std::string_view kOp = "groupnorm";
  std::int64_t groups = 1;
  double eps = 1e-5;
  bool affine = true;
  bool operator==(const GroupNorm&) const = default;
  static void visit(auto& self, auto&& field) {
    field("groups", self.groups);
    field("eps", self.eps);
    field("affine", self.affine);
  }
};

// Normalizes over the last normalized_shape.size() dimensions.
struct LayerNorm {
  static constexpr std::string_view kOp = "layernorm";
  Shape normalized_shape;
  double eps = 1e-5;
  bool affine = true;
  bool bias = true;
  bool operator==(const LayerNorm&) const = default;
  static void visit(auto& self, auto&& field) {
    field("normalized_shape", self.normalized_shape);
    field("eps", self.eps);
    field("affine", self.affine);
    field("bias", self.bias);
  }
};

struct MaxPool2d {
  static constexpr std::string_view kOp = "maxpool2d";
  Pair kernel, stride;
  Pair padding{0, 0};
  Pair dilation;
  bool ceil_mode = false;
  bool operator==(const MaxPool2d&) const = default;
  static void visit(auto& self, auto&& field) {
    field("kernel", self.kernel);
    field("stride", self.stride);
    field("padding", self.padding);
    field("dilation", self.dilation);
    field("ceil_mode", self.ceil_mode);
  }
};

struct AvgPool2d {
  static constexpr std::string_view kOp = "avgpool2d";
  Pair kernel, stride;
  Pair padding{0, 0};
  bool ceil_mode = false;
  bool count_include_pad = true;
  bool operator==(const AvgPool2d&) const = default;
  static void visit(auto& self, auto&& field) {
    field("kernel", self.kernel);
    field("stride", self.stride);
    field("padding", self.padding);
    field("ceil_mode", self.ceil_mode);
    field("count_include_pad", self.count_include_pad);
  }
};

struct AdaptiveAvgPool2d {
  static constexpr std::string_view kOp = "adaptive_avgpool2d";
  Pair output;
  bool operator==(const AdaptiveAvgPool2d&) const = default;
  static void visit(auto& self, auto&& field) { field("output", self.output); }
};

// A layer without fields.
template <class Derived>
struct Plain {
  bool operator==(const Plain&) const = default;
  static void visit(auto&, auto&&) {}
};

struct Flatten : Plain<Flatten> {
  static constexpr std::string_view kOp = "flatten";
};
struct ReLU : Plain<ReLU> {
  static constexpr std::string_view kOp = "relu";
};
struct ReLU6 : Plain<ReLU6> {
  static constexpr std::string_view kOp = "relu6";
};
struct Tanh : Plain<Tanh> {
  static constexpr std::string_view kOp = "tanh";
};
struct Sigmoid : Plain<Sigmoid> {
  static constexpr std::string_view kOp = "sigmoid";
};
struct SiLU : Plain<SiLU> {
  static constexpr std::string_view kOp = "silu";
};
struct Hardswish : Plain<Hardswish> {
  static constexpr std::string_view kOp = "hardswish";
};
struct Mish : Plain<Mish> {
  static constexpr std::string_view kOp = "mish";
};
struct Reciprocal : Plain<Reciprocal> {
  static constexpr std::string_view kOp = "reciprocal";
};

// log(1 + exp(beta * x)) / beta, or x if beta * x > threshold.
struct Softplus {
  static constexpr std::string_view kOp = "softplus";
  double beta = 1.0, threshold = 20.0;
  bool operator==(const Softplus&) const = default;
  static void visit(auto& self, auto&& field) {
    field("beta", self.beta);
    field("threshold", self.threshold);
  }
};

struct LeakyReLU {
  static constexpr std::string_view kOp = "leaky_relu";
  double negative_slope = 0.01;
  bool operator==(const LeakyReLU&) const = default;
  static void visit(auto& self, auto&& field) { field("negative_slope", self.negative_slope); }
};

struct ELU {
  static constexpr std::string_view kOp = "elu";
  double alpha = 1.0;
  bool operator==(const ELU&) const = default;
  static void visit(auto& self, auto&& field) { field("alpha", self.alpha); }
};

struct GELU {
  static constexpr std::string_view kOp = "gelu";
  bool tanh_approximation = false;
  bool operator==(const GELU&) const = default;
  static void visit(auto& self, auto&& field) { field("tanh_approximation", self.tanh_approximation); }
};

// count: 1 for a slope shared by all channels, or the number of channels.
struct PReLU {
  static constexpr std::string_view kOp = "prelu";
  std::int64_t count = 1;
  double initial = 0.25;
  bool operator==(const PReLU&) const = default;
  static void visit(auto& self, auto&& field) {
    field("count", self.count);
    field("initial", self.initial);
  }
};

// always: apply dropout in evaluation mode too.
struct Dropout {
  static constexpr std::string_view kOp = "dropout";
  double probability = 0.5;
  bool always = false;
  bool operator==(const Dropout&) const = default;
  static void visit(auto& self, auto&& field) {
    field("probability", self.probability);
    field("always", self.always);
  }
};

// Dropout of entire channels.
struct Dropout2d {
  static constexpr std::string_view kOp = "dropout2d";
  double probability = 0.5;
  bool always = false;
  bool operator==(const Dropout2d&) const = default;
  static void visit(auto& self, auto&& field) {
    field("probability", self.probability);
    field("always", self.always);
  }
};

// Over the classes of a flat input, or over the channels of a feature map.
struct LogSoftmax : Plain<LogSoftmax> {
  static constexpr std::string_view kOp = "log_softmax";
};
struct Softmax : Plain<Softmax> {
  static constexpr std::string_view kOp = "softmax";
};

// Sum of two or more inputs of the same shape.
struct Add : Plain<Add> {
  static constexpr std::string_view kOp = "add";
};

// Product of two inputs. The second one is broadcast to the shape of the first.
struct Multiply : Plain<Multiply> {
  static constexpr std::string_view kOp = "multiply";
};

// Row-major reshape to [channels, height, width] or [features].
struct Reshape {
  static constexpr std::string_view kOp = "reshape";
  Shape shape;
  bool operator==(const Reshape&) const = default;
  static void visit(auto& self, auto&& field) { field("shape", self.shape); }
};

// Padding of a feature map. mode, as in torch.nn.functional.pad: "constant" (zeros), "reflect", "replicate" or
// "circular".
struct Pad {
  static constexpr std::string_view kOp = "pad";
  Border padding;
  std::string mode = "constant";
  bool operator==(const Pad&) const = default;
  static void visit(auto& self, auto&& field) {
    field("padding", self.padding);
    field("mode", self.mode);
  }
};

// Concatenation along the channels or features.
struct Concat : Plain<Concat> {
  static constexpr std::string_view kOp = "concat";
};

// Permutation of the dimensions, counted without the batch: {1, 2, 0} converts [C, H, W] to [H, W, C].
struct Permute {
  static constexpr std::string_view kOp = "permute";
  Shape order;
  bool operator==(const Permute&) const = default;
  static void visit(auto& self, auto&& field) { field("order", self.order); }
};

// Elements start, start + step, ... < stop of a dimension, counted without the batch.
struct Slice {
  static constexpr std::string_view kOp = "slice";
  std::int64_t dimension = 0, start = 0, stop = 0, step = 1;
  bool operator==(const Slice&) const = default;
  static void visit(auto& self, auto&& field) {
    field("dimension", self.dimension);
    field("start", self.start);
    field("stop", self.stop);
    field("step", self.step);
  }
};

// Broadcast of dimensions of size 1 to this shape.
struct Expand {
  static constexpr std::string_view kOp = "expand";
  Shape shape;
  bool operator==(const Expand&) const = default;
  static void visit(auto& self, auto&& field) { field("shape", self.shape); }
};

// Maximum over a dimension (counted without the batch), with keepdim=True. Equal maxima share the gradient.
struct Amax {
  static constexpr std::string_view kOp = "amax";
  std::int64_t dimension = 0;
  bool operator==(const Amax&) const = default;
  static void visit(auto& self, auto&& field) { field("dimension", self.dimension); }
};

// Identity without gradient.
struct Detach : Plain<Detach> {
  static constexpr std::string_view kOp = "detach";
};

// x * scale + shift with constant scale and shift.
struct ScaleShift {
  static constexpr std::string_view kOp = "scale_shift";
  double scale = 1, shift = 0;
  bool operator==(const ScaleShift&) const = default;
  static void visit(auto& self, auto&& field) {
    field("scale", self.scale);
    field("shift", self.shift);
  }
};

// All layers.
using Layer = std::variant<Conv2d, Linear, BatchNorm2d, BatchNorm1d, InstanceNorm2d, GroupNorm, LayerNorm, MaxPool2d,
                           AvgPool2d, AdaptiveAvgPool2d, Flatten, ReLU, LeakyReLU, Tanh, Sigmoid, GELU, SiLU, ELU,
                           PReLU, ReLU6, Hardswish, Mish, Softplus, Reciprocal, Dropout, Dropout2d, LogSoftmax, Softmax,
                           Add, Multiply, Concat, Reshape, Expand, Pad, Permute, Slice, Amax, Detach, ScaleShift>;

inline std::string_view op_name(const Layer& layer) {
  return std::visit([](const auto& each) { return each.kOp; }, layer);
}

// Call visitor(T{}) for each alternative T of Layer, in order.
template <class Visitor>
void for_each_layer_kind(Visitor&& visitor) {
  [&]<std::size_t... index>(std::index_sequence<index...>) {
    (visitor(std::variant_alternative_t<index, Layer>{}), ...);
  }(std::make_index_sequence<std::variant_size_v<Layer>>{});
}

}  // namespace mnistcnn::network
