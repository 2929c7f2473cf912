#include "mnistcnn/engine/aten/layer_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/elu.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/instance_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/prelu.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/relu6.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tanh.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "mnistcnn/engine/aten/dropout_mask.h"

namespace mnistcnn::engine::aten {
namespace {

using at::Tensor;

std::array<std::int64_t, 2> to_array(const network::Pair& pair) { return {pair.height, pair.width}; }

std::optional<Tensor> to_optional(const Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

class Forward {
 public:
  Forward(std::span<const Tensor> inputs, const NodeContext& context)
      : inputs_(inputs), x_(inputs[0]), context_(context) {}

  Tensor operator()(const network::Conv2d& conv) const {
    const network::Border& pad = conv.padding;
    const bool symmetric = pad.top == pad.bottom && pad.left == pad.right;
    const Tensor padded = symmetric ? x_ : at::constant_pad_nd(x_, {pad.left, pad.right, pad.top, pad.bottom});
    const std::array<std::int64_t, 2> padding =
        symmetric ? std::array{pad.top, pad.left} : std::array<std::int64_t, 2>{0, 0};
    return at::conv2d(padded, context_.weight, to_optional(context_.bias), to_array(conv.stride), padding,
                      to_array(conv.dilation), conv.groups);
  }
  Tensor operator()(const network::Linear&) const {
    return at::linear(x_, context_.weight, to_optional(context_.bias));
  }

  Tensor operator()(const network::BatchNorm2d& norm) const { return batch_norm(norm); }
  Tensor operator()(const network::BatchNorm1d& norm) const { return batch_norm(norm); }
  // As in PyTorch, num_batches_tracked is not updated, and momentum=None leaves the running statistics unchanged.
  Tensor operator()(const network::InstanceNorm2d& norm) const {
    const bool use_input = training() || !norm.track_running_stats;
    return at::instance_norm(x_, to_optional(context_.weight), to_optional(context_.bias),
                             to_optional(context_.running_mean), to_optional(context_.running_variance), use_input,
                             std::max(norm.momentum, 0.0), norm.eps, true);
  }
  Tensor operator()(const network::GroupNorm& norm) const {
    return at::group_norm(x_, norm.groups, to_optional(context_.weight), to_optional(context_.bias), norm.eps, true);
  }
  Tensor operator()(const network::LayerNorm& norm) const {
    return at::layer_norm(x_, norm.normalized_shape, to_optional(context_.weight), to_optional(context_.bias), norm.eps,
                          true);
  }

  Tensor operator()(const network::MaxPool2d& pool) const {
    return at::max_pool2d(x_, to_array(pool.kernel), to_array(pool.stride), to_array(pool.padding),
                          to_array(pool.dilation), pool.ceil_mode);
  }
  Tensor operator()(const network::AvgPool2d& pool) const {
    return at::avg_pool2d(x_, to_array(pool.kernel), to_array(pool.stride), to_array(pool.padding), pool.ceil_mode,
                          pool.count_include_pad);
  }
  Tensor operator()(const network::AdaptiveAvgPool2d& pool) const {
    return at::adaptive_avg_pool2d(x_, to_array(pool.output));
  }

  Tensor operator()(const network::Flatten&) const { return x_.flatten(1); }
  Tensor operator()(const network::ReLU&) const { return at::relu(x_); }
  Tensor operator()(const network::LeakyReLU& layer) const { return at::leaky_relu(x_, layer.negative_slope); }
  Tensor operator()(const network::Tanh&) const { return at::tanh(x_); }
  Tensor operator()(const network::Sigmoid&) const { return at::sigmoid(x_); }
  Tensor operator()(const network::GELU& layer) const {
    return at::gelu(x_, layer.tanh_approximation ? "tanh" : "none");
  }
  Tensor operator()(const network::SiLU&) const { return at::silu(x_); }
  Tensor operator()(const network::ELU& layer) const { return at::elu(x_, layer.alpha); }
  Tensor operator()(const network::PReLU&) const { return at::prelu(x_, context_.weight); }
  Tensor operator()(const network::ReLU6&) const { return at::relu6(x_); }
  Tensor operator()(const network::Hardswish&) const { return at::hardswish(x_); }
  Tensor operator()(const network::Mish&) const { return at::mish(x_); }
  Tensor operator()(const network::Softplus& layer) const { return at::softplus(x_, layer.beta, layer.threshold); }
  Tensor operator()(const network::Reciprocal&) const { return at::reciprocal(x_); }

  Tensor operator()(const network::Dropout& layer) const { return apply_dropout(layer, x_.sizes()); }
  Tensor operator()(const network::Dropout2d& layer) const {
    return apply_dropout(layer, std::array<std::int64_t, 4>{x_.size(0), x_.size(1), 1, 1});
  }

  Tensor operator()(const network::LogSoftmax&) const { return at::log_softmax(x_, 1); }
  Tensor operator()(const network::Softmax&) const { return at::softmax(x_, 1); }

  Tensor operator()(const network::Add&) const {
    Tensor sum = inputs_[0] + inputs_[1];
    for (const Tensor& input : inputs_.subspan(2)) sum = sum + input;
    return sum;
  }
  Tensor operator()(const network::Multiply&) const { return inputs_[0] * inputs_[1]; }
  Tensor operator()(const network::Reshape& layer) const { return x_.reshape(with_batch(layer.shape)); }
  Tensor operator()(const network::Expand& layer) const { return x_.expand(with_batch(layer.shape)).contiguous(); }
  Tensor operator()(const network::Amax& layer) const { return at::amax(x_, layer.dimension + 1, true); }
  Tensor operator()(const network::Detach&) const { return x_.detach(); }
  Tensor operator()(const network::Pad& layer) const {
    const network::Border& border = layer.padding;
    return at::pad(x_, {border.left, border.right, border.top, border.bottom}, layer.mode);
  }
  Tensor operator()(const network::Concat&) const { return at::cat(at::TensorList(inputs_.data(), inputs_.size()), 1); }
  Tensor operator()(const network::Permute& layer) const {
    std::vector<std::int64_t> order{0};
    for (const std::int64_t dimension : layer.order) order.push_back(dimension + 1);
    return x_.permute(order).contiguous();
  }
  Tensor operator()(const network::Slice& layer) const {
    return x_.slice(layer.dimension + 1, layer.start, layer.stop, layer.step);
  }
  Tensor operator()(const network::ScaleShift& layer) const { return x_ * layer.scale + layer.shift; }

 private:
  bool training() const { return context_.mode == Mode::kTrain; }

  std::vector<std::int64_t> with_batch(const network::Shape& shape) const {
    std::vector<std::int64_t> full_shape{x_.size(0)};
    full_shape.insert(full_shape.end(), shape.begin(), shape.end());
    return full_shape;
  }

  // Increment num_batches_tracked and return the weight of this batch in the running statistics.
  template <class Norm>
  double update_factor(const Norm& norm) const {
    if (!training() || !context_.num_batches_tracked.defined()) return norm.momentum < 0 ? 0.0 : norm.momentum;
    context_.num_batches_tracked.add_(1);
    return norm.momentum < 0 ? 1.0 / static_cast<double>(context_.num_batches_tracked.item<std::int64_t>())
                             : norm.momentum;
  }

  template <class Norm>
  Tensor batch_norm(const Norm& norm) const {
    const bool use_batch = training() || !norm.track_running_stats;
    Tensor output =
        at::batch_norm(x_, to_optional(context_.weight), to_optional(context_.bias), to_optional(context_.running_mean),
                       to_optional(context_.running_variance), use_batch, update_factor(norm), norm.eps, true);
    // In libtorch 2.13 its backward is wrong for some non-contiguous gradients, such as those of a permuted feature
    // map.
    if (output.requires_grad()) output.register_hook([](const Tensor& gradient) { return gradient.contiguous(); });
    return output;
  }

  // mask_shape: shape of the mask, broadcast to the input.
  template <class Layer>
  Tensor apply_dropout(const Layer& layer, at::IntArrayRef mask_shape) const {
    const double probability = layer.probability;
    if (!(training() || layer.always) || probability == 0) return x_;
    const common::DropoutKey key(common::Stream(context_.randomness.seed, common::Purpose::kDropout,
                                                context_.randomness.step, static_cast<std::uint64_t>(context_.node)));
    const std::int64_t elements = c10::multiply_integers(mask_shape.slice(1));
    return x_ * dropout_mask(key, x_.size(0), elements, probability, x_.device()).view(mask_shape);
  }

  std::span<const Tensor> inputs_;
  const Tensor& x_;
  const NodeContext& context_;
};

}  // namespace

at::Tensor layer_forward(const network::Layer& layer, std::span<const at::Tensor> inputs, const NodeContext& context) {
  return std::visit(Forward(inputs, context), layer);
}

}  // namespace mnistcnn::engine::aten
