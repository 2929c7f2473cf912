#include "mnistcnn/network/parameters.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <span>
#include <stdexcept>

#include "mnistcnn/common/random.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::network {
namespace {

using common::Purpose;
using common::Stream;

std::span<float> elements(const at::Tensor& flat, const TensorSpec& spec) {
  return {flat.mutable_data_ptr<float>() + spec.offset, static_cast<std::size_t>(spec.count)};
}

// Convolutions and linear layers: U(-b, b) with b = 1 / sqrt(fan in), for weights and biases alike.
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

void check_flat(const char* name, const at::Tensor& tensor, at::ScalarType type, std::int64_t count,
                const at::Device& device) {
  if (!tensor.defined() || tensor.dim() != 1 || tensor.numel() != count || tensor.scalar_type() != type ||
      !tensor.is_contiguous() || tensor.device() != device)
    throw std::invalid_argument(
        common::text(name, " must be a contiguous ", c10::toString(type), " tensor [", count, "] on ", device.str()));
}

}  // namespace

at::Tensor view(const at::Tensor& flat, const TensorSpec& spec) {
  return flat.narrow(0, spec.offset, spec.count).view(spec.shape);
}

Parameters initialise(const Graph& graph, const Analysis& analysis, std::uint64_t seed) {
  Parameters result{at::zeros({analysis.parameter_count}, at::kFloat),
                    at::zeros({analysis.parameter_count}, at::kFloat), at::zeros({analysis.buffer_count}, at::kFloat),
                    at::zeros({static_cast<std::int64_t>(analysis.counters.size())}, at::kLong)};
  for (std::size_t i = 0; i < analysis.parameters.size(); ++i) {
    const TensorSpec& spec = analysis.parameters[i];
    initialise_parameter(elements(result.values, spec), spec, graph, analysis, Stream(seed, Purpose::kInitialise, i));
  }
  for (const TensorSpec& spec : analysis.buffers)
    fill(elements(result.buffers, spec), spec.role == Role::kRunningVariance ? 1 : 0);
  return result;
}

void check(const Parameters& parameters, const Analysis& analysis) {
  const at::Device device = parameters.values.device();
  check_flat("values", parameters.values, at::kFloat, analysis.parameter_count, device);
  check_flat("gradients", parameters.gradients, at::kFloat, analysis.parameter_count, device);
  check_flat("buffers", parameters.buffers, at::kFloat, analysis.buffer_count, device);
  check_flat("counters", parameters.counters, at::kLong, static_cast<std::int64_t>(analysis.counters.size()), device);
}

}  // namespace mnistcnn::network
