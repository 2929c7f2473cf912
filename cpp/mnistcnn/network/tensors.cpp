#include "mnistcnn/network/tensors.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <span>
#include <stdexcept>
#include <string>

#include "mnistcnn/common/random.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::network {
namespace {

using common::bracketed;
using common::Purpose;
using common::Stream;
using common::text;

// Weights and biases of convolutions and linear layers: U(-b, b) with b = 1 / sqrt(fan_in).
void fill_uniform(std::span<float> values, std::int64_t fan_in, const Stream& stream) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(stream.uniform(i, -bound, bound));
}

void fill(std::span<float> values, double value) {
  for (float& each : values) each = static_cast<float>(value);
}

void initialise_parameter(std::span<float> values, const TensorSpec& spec, const Graph& graph, const Analysis& analysis,
                          const Stream& stream) {
  const Layer& layer = graph.nodes[static_cast<std::size_t>(spec.node)].layer;
  if (std::holds_alternative<Conv2d>(layer) || std::holds_alternative<Linear>(layer)) {
    const TensorSpec& weight = *analysis.find(spec.node, Role::kWeight);
    fill_uniform(values, weight.count / weight.shape[0], stream);
  } else if (const auto* prelu = std::get_if<PReLU>(&layer)) {
    fill(values, prelu->initial);
  } else {
    fill(values, spec.role == Role::kWeight ? 1 : 0);  // the norms
  }
}

// Dispatch keys of a plain tensor. A tensor with any other key (a subclass with its own dispatch, a functorch wrapper,
// a negated or sparse tensor) has no memory that can be read as an array.
constexpr c10::DispatchKeySet kPlainTensorKeys = c10::DispatchKeySet(
    {c10::DispatchKey::CPU, c10::DispatchKey::CUDA, c10::DispatchKey::ADInplaceOrView, c10::DispatchKey::AutogradCPU,
     c10::DispatchKey::AutogradCUDA, c10::DispatchKey::AutocastCPU, c10::DispatchKey::AutocastCUDA});

bool is_plain(const at::Tensor& tensor) {
  return (tensor.key_set() - kPlainTensorKeys).highestFunctionalityKey() == c10::DispatchKey::Undefined;
}

bool has_enough_memory(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return true;
  if (!tensor.has_storage() || tensor.storage().data() == nullptr) return false;
  std::int64_t last = tensor.storage_offset();
  for (std::int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  return static_cast<std::size_t>(last + 1) * tensor.element_size() <= tensor.storage().nbytes();
}

void check_tensor(const at::Tensor& tensor, const std::string& name, at::IntArrayRef shape, at::ScalarType type,
                  const at::Device& device) {
  if (!tensor.defined()) throw std::invalid_argument(text("tensor '", name, "' of the network is missing"));
  const auto fail = [&](const auto&... reason) {
    throw std::invalid_argument(text("'", name, "' ", reason..., "; expected a plain ", c10::toString(type), " tensor ",
                                     bracketed(shape), " on ", device.str()));
  };
  if (!is_plain(tensor)) fail("is not a plain tensor (", c10::toString(tensor.key_set()), ")");
  if (tensor.scalar_type() != type) fail("has type ", c10::toString(tensor.scalar_type()));
  if (tensor.sizes() != shape) fail("has shape ", bracketed(tensor.sizes()));
  if (tensor.device() != device) fail("is on ", tensor.device().str());
  if (!has_enough_memory(tensor)) fail("has a storage that is smaller than its shape requires");
}

void check_number(const char* kind, std::size_t actual, std::size_t expected) {
  if (actual != expected) throw std::invalid_argument(text("the network has ", expected, " ", kind, ", got ", actual));
}

}  // namespace

Tensors initialise(const Graph& graph, const Analysis& analysis, std::uint64_t seed) {
  Tensors result;
  for (std::size_t i = 0; i < analysis.parameters.size(); ++i) {
    const TensorSpec& spec = analysis.parameters[i];
    result.parameters.push_back(at::zeros(spec.shape, at::kFloat));
    initialise_parameter(elements<float>(result.parameters[i]), spec, graph, analysis,
                         Stream(seed, Purpose::kInitialise, i));
  }
  for (const TensorSpec& spec : analysis.buffers) {
    result.buffers.push_back(at::zeros(spec.shape, at::kFloat));
    fill(elements<float>(result.buffers.back()), spec.role == Role::kRunningVariance ? 1 : 0);
  }
  for (std::size_t i = 0; i < analysis.counters.size(); ++i)
    result.counters.push_back(at::zeros(at::IntArrayRef{}, at::kLong));
  return result;
}

bool has_accessible_memory(const at::Tensor& tensor) { return is_plain(tensor) && has_enough_memory(tensor); }

void check_parameters(std::span<const at::Tensor> parameters, const Analysis& analysis) {
  check_number("parameters", parameters.size(), analysis.parameters.size());
  if (parameters.empty()) return;
  const at::Device device = parameters[0].defined() ? parameters[0].device() : at::Device(at::kCPU);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    check_tensor(parameters[i], analysis.parameters[i].name, analysis.parameters[i].shape, at::kFloat, device);
}

void check(const Tensors& tensors, const Analysis& analysis) {
  check_parameters(tensors.parameters, analysis);
  check_number("buffers", tensors.buffers.size(), analysis.buffers.size());
  check_number("counters", tensors.counters.size(), analysis.counters.size());
  const at::Device device = tensors.device();
  for (std::size_t i = 0; i < tensors.buffers.size(); ++i) {
    check_tensor(tensors.buffers[i], analysis.buffers[i].name, analysis.buffers[i].shape, at::kFloat, device);
    if (!tensors.buffers[i].is_contiguous())
      throw std::invalid_argument(text("'", analysis.buffers[i].name, "' is not contiguous; call .contiguous() on it"));
  }
  for (std::size_t i = 0; i < tensors.counters.size(); ++i)
    check_tensor(tensors.counters[i], text("num_batches_tracked of node ", analysis.counters[i]), at::IntArrayRef{},
                 at::kLong, device);
}

void mark_as_written(const at::Tensor& tensor) {
  if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
}

}  // namespace mnistcnn::network
