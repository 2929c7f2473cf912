#include "mnistcnn/engine/lanes/plan/plan_builder.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {

void PlanBuilder::find_used_nodes() {
  used_.assign(graph_.nodes.size(), false);
  readers_.assign(graph_.nodes.size(), 0);
  used_.back() = true;
  readers_.back() = 1;  // the loss
  for (std::size_t i = used_.size(); i-- > 0;)
    for (const int from : graph_.nodes[i].inputs)
      if (used_[i] && from >= 0) {
        used_[static_cast<std::size_t>(from)] = true;
        ++readers_[static_cast<std::size_t>(from)];
      }
}

ExactTies PlanBuilder::needed_exact_ties() const {
  const auto any_used = [&](const auto& condition) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (used_[i] && condition(graph_.nodes[i].layer, analysis_.nodes[i])) return true;
    return false;
  };
  const bool has_maximum = any_used([](const network::Layer& layer, const network::NodeAnalysis&) {
    return std::holds_alternative<network::MaxPool2d>(layer) || std::holds_alternative<network::Amax>(layer);
  });
  if (!has_maximum) return ExactTies::kNotNeeded;
  const bool differs_by_position = any_used([](const network::Layer& layer, const network::NodeAnalysis& analysis) {
    const network::Shape& out = analysis.output_shape;
    const bool is_map = out.size() == 3 && out[1] * out[2] > 1;
    // A reshape that changes the number of channels turns positions into channels, or the features of a linear layer
    // into positions.
    const bool changes_channels = is_map && analysis.input_shapes[0][0] != out[0];
    return (std::holds_alternative<network::LayerNorm>(layer) && is_map) ||
           (std::holds_alternative<network::Reshape>(layer) && changes_channels) ||
           std::holds_alternative<network::Permute>(layer);
  });
  return differs_by_position ? ExactTies::kAlways : ExactTies::kForImageGradients;
}

PlanBuilder::NodeOutput PlanBuilder::output_of(int node) const {
  if (node == network::kInputImage) return {plan_.image, extent_of(graph_.input_shape)};
  return node_outputs_[static_cast<std::size_t>(node)];
}

int PlanBuilder::use_parameter(network::Role role) {
  const network::TensorSpec* spec = analysis_.find(node_, role);
  if (spec == nullptr) return -1;
  const int parameter = static_cast<int>(spec - analysis_.parameters.data());
  for (ExecutionPlan::ParameterUse& earlier : plan_.uses)
    if (earlier.parameter == parameter) earlier.writes_gradient = false;
  plan_.uses.push_back({parameter, spec->count});
  return static_cast<int>(plan_.uses.size()) - 1;
}

network::Shape PlanBuilder::input_strides() const {
  network::Shape strides(input_shape().size(), 1);
  for (std::size_t d = strides.size() - 1; d-- > 0;) strides[d] = strides[d + 1] * input_shape()[d + 1];
  return strides;
}

network::Shape PlanBuilder::expanded_strides(const network::Shape& shape) const {
  network::Shape strides = input_strides();
  for (std::size_t d = 0; d < strides.size(); ++d)
    if (input_shape()[d] != shape[d]) strides[d] = 0;
  return strides;
}

Extent PlanBuilder::extent_around(const network::Shape& shape, std::int64_t dimension) {
  const auto first = shape.begin(), end = shape.end(), at = first + dimension;
  return {network::element_count({first, at}), *at, network::element_count({at + 1, end})};
}

Tensor* PlanBuilder::new_tensor(const Extent& extent, bool requires_grad) {
  plan_.tensors.push_back({});
  Tensor& tensor = plan_.tensors.back();
  tensor.extent = extent;
  tensor.requires_grad = requires_grad;
  tensor.producer = static_cast<int>(plan_.ops.size());  // the operation that is added next
  return &tensor;
}

Tensor* PlanBuilder::alias_of(Tensor* tensor, const Extent& extent) {
  Tensor* const alias = new_tensor(extent, tensor->requires_grad);
  aliases_.push_back({alias, tensor});
  return alias;
}

PlanBuilder::NodeOutput PlanBuilder::new_output(const Extent& extent, const std::vector<Tensor*>& inputs,
                                                bool has_parameters) {
  bool requires_grad = has_parameters;
  for (const Tensor* input : inputs) requires_grad = requires_grad || input->requires_grad;
  const NodeOutput output{new_tensor(extent, requires_grad), extent};
  set_output(output);
  return output;
}

std::vector<Input> PlanBuilder::as_inputs(const std::vector<Tensor*>& tensors) {
  std::vector<Input> inputs;
  for (Tensor* tensor : tensors) inputs.push_back({tensor});
  return inputs;
}

void PlanBuilder::link_gradients() {
  std::vector<Tensor*> seen{aliases_.base_of(plan_.output)};
  for (std::size_t i = plan_.ops.size(); i-- > 0;)
    for (Input& input : plan_.ops[i]->inputs()) {
      Tensor* const base = aliases_.base_of(input.tensor);
      ++base->uses;
      input.accumulates_gradient = std::ranges::find(seen, base) != seen.end();
      if (!input.accumulates_gradient) seen.push_back(base);
    }
  ++aliases_.base_of(plan_.output)->uses;
}

void PlanBuilder::collect_partial_gradients() {
  for (const auto& op : plan_.ops)
    for (PartialGradient* gradient : op->partial_gradients()) {
      gradient->partial = plan_.partial_size;
      plan_.partial_gradients.push_back(*gradient);
      plan_.partial_size += whole_vectors(gradient->count);
    }
  for (int parameter = 0; parameter < static_cast<int>(analysis_.parameters.size()); ++parameter)
    if (std::ranges::find(plan_.uses, parameter, &ExecutionPlan::ParameterUse::parameter) == plan_.uses.end())
      plan_.unused_parameters.push_back(parameter);
}

}  // namespace mnistcnn::engine::lanes
