#include <torch/csrc/autograd/python_variable.h>

#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "graph_rows.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/network/tensors.h"
#include "native_calls.h"
#include "tensors.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using network::Border;
using network::Layer;
using network::Network;
using network::Pair;
using network::Shape;

// ---- conversion of layer fields to and from Python
py::object to_python(const Pair& pair) { return py::make_tuple(pair.height, pair.width); }
py::object to_python(const Border& border) {
  return py::make_tuple(border.top, border.bottom, border.left, border.right);
}
py::object to_python(const Shape& shape) { return py::tuple(py::cast(shape)); }
py::object to_python(bool value) { return py::bool_(value); }
py::object to_python(std::int64_t value) { return py::int_(value); }
py::object to_python(double value) { return py::float_(value); }
py::object to_python(const std::string& value) { return py::str(value); }

void from_python(const py::handle& value, Pair& pair) {
  const auto [height, width] = value.cast<std::pair<std::int64_t, std::int64_t>>();
  pair = {height, width};
}
void from_python(const py::handle& value, Border& border) {
  const auto [top, bottom, left, right] =
      value.cast<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>>();
  border = {top, bottom, left, right};
}
void from_python(const py::handle& value, auto& field) { field = value.cast<std::decay_t<decltype(field)>>(); }

template <class Description>
Layer read_layer(Description layer, const py::dict& fields) {
  std::size_t known = 0;
  layer.visit(layer, [&](const char* name, auto& value) {
    if (!fields.contains(name)) throw std::invalid_argument(text(layer.kOp, ": missing field '", name, "'"));
    try {
      from_python(fields[name], value);
    } catch (const py::cast_error&) {
      throw std::invalid_argument(
          text(layer.kOp, ": ", name, "=", py::repr(fields[name]).cast<std::string>(), " has the wrong type"));
    }
    ++known;
  });
  if (known != fields.size()) throw std::invalid_argument(text(layer.kOp, " has unknown fields"));
  return layer;
}

Layer read_layer(const std::string& op, const py::dict& fields) {
  std::optional<Layer> layer;
  network::for_each_layer_kind([&](const auto& kind) {
    if (op == kind.kOp) layer = read_layer(kind, fields);
  });
  if (!layer) throw std::invalid_argument(text("unknown layer '", op, "'"));
  return *layer;
}

network::Role read_role(const std::string& suffix) {
  for (std::size_t i = 0; i < network::kRoles; ++i)
    if (suffix == network::suffix_of(static_cast<network::Role>(i))) return static_cast<network::Role>(i);
  throw std::invalid_argument(text("unknown tensor '", suffix, "'"));
}

using SharedTensors = std::vector<std::tuple<int, std::string, int>>;  // node, "weight", owner

network::Graph read_graph(const Shape& input_shape, const py::list& nodes, const SharedTensors& shared) {
  network::Graph graph{input_shape, {}, {}};
  for (const auto& [node, suffix, owner] : shared) graph.shared.push_back({node, read_role(suffix), owner});
  for (const py::handle& item : nodes) {
    const auto [name, op, inputs, fields] =
        item.cast<std::tuple<std::string, std::string, std::vector<int>, py::dict>>();
    graph.nodes.push_back({name, read_layer(op, fields), inputs});
  }
  return graph;
}

py::dict layer_kinds() {
  py::dict kinds;
  network::for_each_layer_kind([&](const auto& kind) { kinds[py::str(std::string(kind.kOp))] = fields_of(kind); });
  return kinds;
}

py::list node_rows(const Network& network) {
  py::list rows;
  for (std::size_t i = 0; i < network.graph.nodes.size(); ++i) {
    const network::Node& node = network.graph.nodes[i];
    const network::NodeAnalysis& info = network.analysis.nodes[i];
    py::list input_shapes;
    for (const Shape& shape : info.input_shapes) input_shapes.append(to_python(shape));
    py::dict row;
    row["name"] = node.name;
    row["op"] = std::string(op_name(node.layer));
    row["fields"] = fields_of(node.layer);
    row["inputs"] = py::tuple(py::cast(node.inputs));
    row["input_shapes"] = py::tuple(input_shapes);
    row["output_shape"] = to_python(info.output_shape);
    row["parameters"] = info.parameters;
    row["buffers"] = info.buffers;
    row["macs"] = info.macs;
    row["activation_bytes"] = info.activation_bytes;
    row["receptive_field"] = std::max(info.receptive_field.height, info.receptive_field.width);
    row["jump"] = std::max(info.jump.height, info.jump.width);
    rows.append(row);
  }
  return rows;
}

std::vector<at::Tensor> read_list(const py::handle& list, const auto& name_of) {
  std::vector<at::Tensor> tensors;
  for (const py::handle& item : list.cast<py::list>()) {
    const auto type_name = [&] { return py::str(py::type::handle_of(item).attr("__name__")).cast<std::string>(); };
    if (!THPVariable_Check(item.ptr()))
      throw std::invalid_argument(text("'", name_of(tensors.size()), "' is ", type_name(),
                                       ", not a tensor; the network requires a tensor, which was removed or replaced"));
    if (!THPVariable_CheckExact(item.ptr()))
      throw py::type_error(text("'", name_of(tensors.size()), "' is a ", type_name(),
                                ", a subclass of Tensor; mnistcnn supports only torch.Tensor and Parameter"));
    tensors.push_back(THPVariable_Unpack(item.ptr()));
  }
  return tensors;
}

auto name_in(const std::vector<network::TensorSpec>& specs) {
  return [&specs](std::size_t index) { return index < specs.size() ? specs[index].name : std::string("tensor"); };
}

// Return (name, shape, node, offset) of each tensor.
py::list spec_rows(const std::vector<network::TensorSpec>& specs) {
  py::list rows;
  for (const network::TensorSpec& spec : specs)
    rows.append(py::make_tuple(spec.name, to_python(spec.shape), spec.node, spec.offset));
  return rows;
}

std::shared_ptr<Network> make_network(const Shape& input_shape, const py::list& nodes, const SharedTensors& shared) {
  auto network = std::make_shared<Network>();
  network->graph = read_graph(input_shape, nodes, shared);
  const NativeCall no_gil;
  network->analysis = network::analyse(network->graph);
  return network;
}

py::tuple initial_tensors(const Network& network, std::uint64_t seed) {
  network::Tensors tensors;
  {
    const NativeCall no_gil;
    tensors = network::initialise(network.graph, network.analysis, seed);
  }
  return py::make_tuple(std::move(tensors.parameters), std::move(tensors.buffers), std::move(tensors.counters));
}

}  // namespace

py::dict fields_of(const Layer& layer) {
  py::dict fields;
  std::visit(
      [&](const auto& each) {
        each.visit(each, [&](const char* name, const auto& value) { fields[name] = to_python(value); });
      },
      layer);
  return fields;
}

py::list graph_rows(const network::Graph& graph) {
  py::list rows;
  for (const network::Node& node : graph.nodes)
    rows.append(
        py::make_tuple(node.name, std::string(op_name(node.layer)), py::cast(node.inputs), fields_of(node.layer)));
  return rows;
}

std::vector<at::Tensor> read_parameters(const Network& network, const py::handle& list) {
  return read_list(list, name_in(network.analysis.parameters));
}

network::Tensors read_tensors(const Network& network, const py::handle& lists) {
  const auto [parameters, buffers, counters] = lists.cast<std::tuple<py::object, py::object, py::object>>();
  return {read_parameters(network, parameters), read_list(buffers, name_in(network.analysis.buffers)),
          read_list(counters, [](std::size_t) { return "num_batches_tracked"; })};
}

train::TensorSource tensor_source(const Network& network, py::handle function) {
  return [&network, function] {
    const py::gil_scoped_acquire gil;
    return read_tensors(network, function());
  };
}

void bind_network(py::module_& module) {
  module.def("layer_kinds", &layer_kinds);
  py::class_<Network, std::shared_ptr<Network>>(module, "Network")
      .def(py::init(&make_network), py::kw_only(), py::arg("input_shape"), py::arg("nodes"),
           py::arg("shared") = SharedTensors{})
      .def_property_readonly("input_shape", [](const Network& m) { return to_python(m.graph.input_shape); })
      .def_property_readonly("nodes", &node_rows)
      .def_property_readonly("parameter_specs", [](const Network& m) { return spec_rows(m.analysis.parameters); })
      .def_property_readonly("buffer_specs", [](const Network& m) { return spec_rows(m.analysis.buffers); })
      .def_property_readonly("counter_nodes", [](const Network& m) { return m.analysis.counters; })
      .def_property_readonly("parameter_count", [](const Network& m) { return m.analysis.parameter_count; })
      .def_property_readonly("macs", [](const Network& m) { return m.analysis.macs; })
      .def_property_readonly("activation_bytes", [](const Network& m) { return m.analysis.activation_bytes; })
      .def("initial_tensors", &initial_tensors, py::kw_only(), py::arg("seed"))
      .def(
          "check_batch",
          [](const Network& m, std::int64_t images, bool training) {
            network::check_batch(m.graph, m.analysis, images, training);
          },
          py::kw_only(), py::arg("images"), py::arg("training"));
}

}  // namespace mnistcnn::bindings
