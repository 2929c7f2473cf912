#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>

#include <memory>

#include "bindings.h"
#include "mnistcnn/engine/make_engine.h"
#include "native_calls.h"
#include "tensors.h"

namespace mnistcnn::bindings {
namespace {

using at::Tensor;
using engine::Engine;
using engine::Keep;
using engine::Mode;
using network::Network;

Tensor forward(Engine& engine, const py::object& lists, const Tensor& images, bool training, std::uint64_t seed,
               bool keep, bool keep_images) {
  const network::Tensors tensors = read_tensors(engine.network(), lists);
  const Keep kept = keep_images ? Keep::kForParametersAndImages : keep ? Keep::kForParameters : Keep::kNothing;
  const NativeCall no_gil;
  const Tensor outputs = engine.forward(tensors, images, training ? Mode::kTrain : Mode::kEvaluate, {seed, 0}, kept);
  if (training)
    for (const auto* statistics : {&tensors.buffers, &tensors.counters})
      for (const Tensor& each : *statistics) network::mark_as_written(each);
  return outputs;
}

// Allocate a gradient for each parameter. On the CPU this bypasses the dispatcher, which would take three microseconds
// for each of dozens of tensors.
std::vector<Tensor> empty_gradients(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> gradients;
  for (const Tensor& each : parameters) {
    if (each.is_cpu())
      gradients.emplace_back(at::detail::empty_cpu(each.sizes(), at::kFloat));
    else
      gradients.push_back(at::empty(each.sizes(), each.options().memory_format(at::MemoryFormat::Contiguous)));
  }
  return gradients;
}

// Autograd expects a gradient to have the strides of its parameter if the parameter is dense.
void match_layouts(std::vector<Tensor>& gradients, const std::vector<Tensor>& parameters) {
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (!parameters[i].is_contiguous() && parameters[i].is_non_overlapping_and_dense())
      gradients[i] =
          at::empty_strided(parameters[i].sizes(), parameters[i].strides(), gradients[i].options()).copy_(gradients[i]);
}

// Return (gradients of the images or None, gradients of the parameters).
py::tuple backward(Engine& engine, const py::object& list, const Tensor& output_gradients) {
  const std::vector<Tensor> parameters = read_parameters(engine.network(), list);
  std::vector<Tensor> gradients;
  Tensor image_gradients;
  {
    const NativeCall no_gil;
    gradients = empty_gradients(parameters);
    image_gradients = engine.backward(parameters, gradients, output_gradients);
    match_layouts(gradients, parameters);
  }
  return py::make_tuple(image_gradients.defined() ? py::cast(image_gradients) : py::none(), std::move(gradients));
}

}  // namespace

void bind_engine(py::module_& module) {
  module.def("lanes_unsupported_reason", &engine::lanes_unsupported_reason, py::arg("network"));
  py::class_<Engine>(module, "Engine")
      .def(py::init([](std::shared_ptr<Network> network, const std::string& kind, int threads) {
             const NativeCall no_gil;
             return engine::make_engine(std::move(network), kind, threads);
           }),
           py::arg("network").none(false), py::arg("kind"), py::arg("threads"))
      .def_property_readonly("name", &Engine::name)
      .def_property_readonly("memory_bytes", &Engine::memory_bytes)
      .def("forward", &forward, py::arg("tensors"), py::arg("images"), py::kw_only(), py::arg("training"),
           py::arg("seed"), py::arg("keep"), py::arg("keep_images"))
      .def("backward", &backward, py::arg("parameters"), py::arg("output_gradients"));
}

}  // namespace mnistcnn::bindings
