#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/engine/make_engine.h"

namespace mnistcnn::bindings {
namespace {

using engine::Engine;
using engine::Keep;
using engine::Mode;

}  // namespace

void bind_engine(py::module_& module) {
  module.def("lanes_refusal", &engine::lanes_refusal, py::arg("network"));
  py::class_<Engine>(module, "Engine")
      .def(py::init(&engine::make_engine), py::arg("network"), py::arg("kind"), py::arg("threads"),
           py::keep_alive<1, 2>())
      .def_property_readonly("name", &Engine::name)
      .def_property_readonly("memory_bytes", &Engine::memory_bytes)
      .def(
          "forward",
          [](Engine& engine, const at::Tensor& images, bool training, std::uint64_t seed, bool keep, bool keep_images) {
            const py::gil_scoped_release no_gil;
            const Keep kept = keep_images ? Keep::kForParametersAndImages
                              : keep      ? Keep::kForParameters
                                          : Keep::kNothing;
            return engine.forward(images, training ? Mode::kTrain : Mode::kEvaluate, {seed, 0}, kept);
          },
          py::arg("images"), py::kw_only(), py::arg("training"), py::arg("seed"), py::arg("keep"),
          py::arg("keep_images"))
      .def(
          "backward",
          [](Engine& engine, const at::Tensor& output_gradients) {
            const py::gil_scoped_release no_gil;
            return engine.backward(output_gradients);
          },
          py::arg("output_gradients"));
}

}  // namespace mnistcnn::bindings
