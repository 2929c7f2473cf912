#include "mnistcnn/engine/lanes/plan_builder.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {

void PlanBuilder::find_used_nodes() {
  used_.assign(graph_.nodes.size(), false);
  readers_.assign(graph_.nodes.size(), 0);
  if (used_.empty()) return;
  used_.back() = true;
  readers_.back() = 1;  // whoever takes the outputs
  for (std::size_t i = used_.size(); i-- > 0;)
    for (const int from : graph_.nodes[i].inputs)
      if (used_[i] && from >= 0) {
        used_[static_cast<std::size_t>(from)] = true;
        ++readers_[static_cast<std::size_t>(from)];
      }
}

EqualBits PlanBuilder::needed_bits() const {
  const auto any_used = [&](const auto& is_wanted) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (used_[i] && is_wanted(graph_.nodes[i].layer, analysis_.nodes[i])) return true;
    return false;
  };
  const bool pools = any_used([](const network::Layer& layer, const network::NodeAnalysis&) {
    return std::holds_alternative<network::MaxPool2d>(layer) || std::holds_alternative<network::Amax>(layer);
  });
  if (!pools) return EqualBits::kNotNeeded;
  const bool differ = any_used([](const network::Layer& layer, const network::NodeAnalysis& facts) {
    const network::Shape& out = facts.output_shape;
    const bool map = out.size() == 3 && out[1] * out[2] > 1;
    // A reshape that changes the number of channels turns positions into channels, or the features of a linear layer
    // into positions.
    const bool other_channels = map && facts.input_shapes[0][0] != out[0];
    return (std::holds_alternative<network::LayerNorm>(layer) && map) ||
           (std::holds_alternative<network::Reshape>(layer) && other_channels) ||
           std::holds_alternative<network::Permute>(layer);
  });
  return differ ? EqualBits::kAlways : EqualBits::kForImageGradients;
}

PlanBuilder::Named PlanBuilder::named(int from) const {
  if (from == network::kInputImage) return {plan_.image, extent_of(graph_.input_shape)};
  return value_of_[static_cast<std::size_t>(from)];
}

int PlanBuilder::use_parameter(network::Role role) {
  const network::TensorSpec* spec = analysis_.find(node_, role);
  if (spec == nullptr) return -1;
  const int parameter = static_cast<int>(spec - analysis_.parameters.data());
  for (Plan::Use& earlier : plan_.uses)
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

Value* PlanBuilder::new_value(const Extent& extent, bool trains) {
  plan_.values.push_back({});
  plan_.values.back().extent = extent;
  plan_.values.back().trains = trains;
  plan_.values.back().producer = static_cast<int>(plan_.ops.size());  // the one that is made next
  return &plan_.values.back();
}

Value* PlanBuilder::view_of(Value* value, const Extent& extent) {
  Value* const view = new_value(extent, value->trains);
  views_.push_back({view, value});
  return view;
}

PlanBuilder::Named PlanBuilder::result(const Extent& extent, std::initializer_list<Value*> inputs,
                                       bool has_parameters) {
  bool trains = has_parameters;
  for (const Value* input : inputs) trains = trains || input->trains;
  const Named named{new_value(extent, trains), extent};
  value_of_[static_cast<std::size_t>(node_)] = named;
  return named;
}

PlanBuilder::Named PlanBuilder::joined_result(const std::vector<Value*>& values) {
  const Named to = result(output_extent(), {}, false);
  for (const Value* value : values) to.value->trains = to.value->trains || value->trains;
  return to;
}

std::vector<Input> PlanBuilder::as_inputs(const std::vector<Value*>& values) {
  std::vector<Input> inputs;
  for (Value* value : values) inputs.push_back({value});
  return inputs;
}

void PlanBuilder::link_gradients() {
  std::vector<Value*> seen{views_.root_of(plan_.output)};
  for (std::size_t i = plan_.ops.size(); i-- > 0;)
    for (Input& input : plan_.ops[i]->inputs()) {
      Value* const root = views_.root_of(input.value);
      ++root->uses;
      input.adds_gradient = std::find(seen.begin(), seen.end(), root) != seen.end();
      if (!input.adds_gradient) seen.push_back(root);
    }
  ++views_.root_of(plan_.output)->uses;
}

void PlanBuilder::collect_gradients() {
  for (const auto& op : plan_.ops)
    for (Op::PartialGradient* gradient : op->partial_gradients()) {
      gradient->partial = plan_.partial_size;
      plan_.reduced.push_back({gradient->use, 0, gradient->count, gradient->partial});
      plan_.partial_size += (gradient->count + kLanes - 1) / kLanes * kLanes;
    }
  for (int parameter = 0; parameter < static_cast<int>(analysis_.parameters.size()); ++parameter)
    if (std::ranges::find(plan_.uses, parameter, &Plan::Use::parameter) == plan_.uses.end())
      plan_.unused.push_back(parameter);
}

}  // namespace mnistcnn::engine::lanes
