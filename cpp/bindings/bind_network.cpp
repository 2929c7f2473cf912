#include <torch/csrc/autograd/python_variable.h>

#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/network/parameters.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using network::Border;
using network::Layer;
using network::Model;
using network::Pair;
using network::Shape;

// A layer's fields as Python values and back.
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

py::dict fields_of(const Layer& layer) {
  py::dict fields;
  std::visit(
      [&](const auto& each) {
        each.visit(each, [&](const char* name, const auto& value) { fields[name] = to_python(value); });
      },
      layer);
  return fields;
}

template <class Description>
Layer read_layer(Description layer, const py::dict& fields) {
  std::size_t known = 0;
  layer.visit(layer, [&](const char* name, auto& value) {
    if (!fields.contains(name)) throw std::invalid_argument(text(layer.kOp, " lacks the field '", name, "'"));
    try {
      from_python(fields[name], value);
    } catch (const py::cast_error&) {
      throw std::invalid_argument(
          text(layer.kOp, ": ", name, "=", py::repr(fields[name]).cast<std::string>(), " has the wrong type"));
    }
    ++known;
  });
  if (known != fields.size()) throw std::invalid_argument(text(layer.kOp, " has fields it doesn't know"));
  return layer;
}

Layer read_layer(const std::string& op, const py::dict& fields) {
  std::optional<Layer> layer;
  network::for_each_layer_kind([&](const auto& kind) {
    if (op == kind.kOp) layer = read_layer(kind, fields);
  });
  if (!layer) throw std::invalid_argument(text("there is no layer '", op, "'"));
  return *layer;
}

network::Graph read_graph(const Shape& input_shape, const py::list& nodes) {
  network::Graph graph{input_shape, {}};
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

py::list node_rows(const Model& model) {
  py::list rows;
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const network::Node& node = model.graph.nodes[i];
    const network::NodeAnalysis& facts = model.analysis.nodes[i];
    py::list input_shapes;
    for (const Shape& shape : facts.input_shapes) input_shapes.append(to_python(shape));
    py::dict row;
    row["name"] = node.name;
    row["op"] = std::string(op_name(node.layer));
    row["fields"] = fields_of(node.layer);
    row["inputs"] = py::tuple(py::cast(node.inputs));
    row["input_shapes"] = py::tuple(input_shapes);
    row["output_shape"] = to_python(facts.output_shape);
    row["parameters"] = facts.parameters;
    row["buffers"] = facts.buffers;
    row["macs"] = facts.macs;
    row["activation_bytes"] = facts.activation_bytes;
    row["receptive_field"] = facts.receptive_field;
    row["jump"] = facts.jump;
    rows.append(row);
  }
  return rows;
}

// Whether each of these is a tensor, and the same memory in the same shape as its view. Asked before every forward.
bool are_in_place(const py::list& tensors, const py::list& views) {
  const auto is_in_place = [](const py::handle& held, const py::handle& view) {
    if (!THPVariable_Check(held.ptr())) return false;
    const at::Tensor& tensor = THPVariable_Unpack(held.ptr());
    const at::Tensor& place = THPVariable_Unpack(view.ptr());
    return tensor.const_data_ptr() == place.const_data_ptr() && tensor.sizes() == place.sizes();
  };
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (!is_in_place(tensors[i], views[i])) return false;
  return true;
}

// A copy of the gradients, cut into tensors in the shapes of the parameters, one behind the other; None where none is
// wanted. They share the copy's memory and are made by hand: a user's loop asks for dozens after every step, and the
// dispatcher takes three microseconds for each.
py::list gradient_copies(const Model& model, const py::list& parameters, const std::vector<bool>& wanted) {
  const auto clone = [&] {
    const py::gil_scoped_release no_gil;
    return model.parameters.gradients.clone();
  };
  const at::Tensor flat = clone();
  std::int64_t offset = 0;
  py::list copies;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::IntArrayRef shape = THPVariable_Unpack(py::handle(parameters[i]).ptr()).sizes();
    if (wanted.at(i)) {
      at::Tensor part =
          at::detail::make_tensor<c10::TensorImpl>(c10::Storage(flat.storage()), flat.key_set(), flat.dtype());
      part.unsafeGetTensorImpl()->set_storage_offset(offset);
      part.unsafeGetTensorImpl()->set_sizes_contiguous(shape);
      copies.append(part);
    } else {
      copies.append(py::none());
    }
    offset += c10::multiply_integers(shape);
  }
  if (offset != flat.numel())
    throw std::invalid_argument(text("parameters of ", offset, " numbers, not ", flat.numel()));
  return copies;
}

// (name, shape, node, offset) of every tensor in a flat array
py::list spec_rows(const std::vector<network::TensorSpec>& specs) {
  py::list rows;
  for (const network::TensorSpec& spec : specs)
    rows.append(py::make_tuple(spec.name, to_python(spec.shape), spec.node, spec.offset));
  return rows;
}

std::shared_ptr<Model> make_model(const Shape& input_shape, const py::list& nodes, std::uint64_t seed) {
  auto model = std::make_shared<Model>();
  model->graph = read_graph(input_shape, nodes);
  model->analysis = network::analyse(model->graph);
  model->parameters = network::initialise(model->graph, model->analysis, seed);
  return model;
}

}  // namespace

void bind_network(py::module_& module) {
  module.def("layer_kinds", &layer_kinds);
  module.def("are_in_place", &are_in_place, py::arg("tensors"), py::arg("views"));
  py::class_<Model, std::shared_ptr<Model>>(module, "Network")
      .def(py::init(&make_model), py::kw_only(), py::arg("input_shape"), py::arg("nodes"), py::arg("seed"))
      .def_property_readonly("input_shape", [](const Model& model) { return to_python(model.graph.input_shape); })
      .def_property_readonly("nodes", &node_rows)
      .def_property_readonly("parameter_specs", [](const Model& m) { return spec_rows(m.analysis.parameters); })
      .def_property_readonly("buffer_specs", [](const Model& m) { return spec_rows(m.analysis.buffers); })
      .def_property_readonly("counter_nodes", [](const Model& m) { return m.analysis.counters; })
      .def_property_readonly("parameter_count", [](const Model& m) { return m.analysis.parameter_count; })
      .def_property_readonly("macs", [](const Model& m) { return m.analysis.macs; })
      .def_property_readonly("activation_bytes", [](const Model& m) { return m.analysis.activation_bytes; })
      .def_property_readonly("values", [](const Model& m) { return m.parameters.values; })
      .def("gradient_copies", &gradient_copies, py::arg("parameters"), py::arg("wanted"))
      .def_property_readonly("gradients", [](const Model& m) { return m.parameters.gradients; })
      .def_property_readonly("buffers", [](const Model& m) { return m.parameters.buffers; })
      .def_property_readonly("counters", [](const Model& m) { return m.parameters.counters; })
      .def(
          "check_batch",
          [](const Model& m, std::int64_t images, bool training) {
            network::check_batch(m.graph, m.analysis, images, training);
          },
          py::kw_only(), py::arg("images"), py::arg("training"))
      .def(
          "set_memory",
          [](Model& model, at::Tensor values, at::Tensor gradients, at::Tensor buffers, at::Tensor counters) {
            const network::Parameters moved{std::move(values), std::move(gradients), std::move(buffers),
                                            std::move(counters)};
            network::check(moved, model.analysis);
            model.parameters = moved;
          },
          py::kw_only(), py::arg("values"), py::arg("gradients"), py::arg("buffers"), py::arg("counters"));
}

}  // namespace mnistcnn::bindings
