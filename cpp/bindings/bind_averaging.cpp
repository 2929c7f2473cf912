#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/averaging.h"
#include "native_calls.h"
#include "recipe.h"
#include "tensors.h"

namespace mnistcnn::bindings {

using common::text;
using network::Network;
using train::Averaging;

train::AveragingRule read_averaging(const py::dict& settings) {
  const auto kind = settings["kind"].cast<std::string>();
  const auto integer = [&](const char* name) {
    const auto value = settings[name].cast<std::int64_t>();
    if (value < 1) throw std::invalid_argument(text(name, " must be at least 1, got ", value));
    return value;
  };
  if (kind == "EMA")
    return train::Ema{settings["decay"].cast<double>(), integer("every"), settings["warm_up"].cast<bool>(),
                      settings["buffers"].cast<bool>()};
  if (kind == "SWA") return train::Swa{integer("start_epoch"), integer("every")};
  if (kind == "Lookahead") return train::Lookahead{integer("k"), settings["alpha"].cast<double>()};
  throw std::invalid_argument(text("unknown averaging '", kind, "'"));
}

namespace {

std::shared_ptr<Averaging> make_averaging(const Network& network, const py::object& tensors, const py::dict& settings) {
  const train::AveragingRule rule = read_averaging(settings);
  const network::Tensors current = read_tensors(network, tensors);
  const NativeCall no_gil;
  return std::make_shared<Averaging>(rule, train::FlatParameters(network.analysis, current));
}

// Call a method of Averaging that modifies the tensors of the model.
template <auto change>
void on_model(Averaging& averaging, const Network& network, const py::object& lists) {
  const network::Tensors tensors = read_tensors(network, lists);
  const NativeCall no_gil;
  train::change_flat(network.analysis, tensors, [&](train::FlatParameters& flat) { (averaging.*change)(flat); });
}

}  // namespace

void bind_averaging(py::module_& module) {
  py::class_<Averaging, std::shared_ptr<Averaging>>(module, "Averaging")
      .def(py::init(&make_averaging), py::arg("network"), py::arg("tensors"), py::arg("settings"))
      .def_property_readonly("ready", &Averaging::ready)
      .def_property_readonly("used_for_validation", &Averaging::used_for_validation)
      .def("exchange", &on_model<&Averaging::exchange>, py::arg("network"), py::arg("tensors"))
      .def("copy_to", &on_model<&Averaging::copy_to>, py::arg("network"), py::arg("tensors"))
      .def("state", &Averaging::state, py::call_guard<NativeCall>())
      .def("restore", &Averaging::restore, py::arg("state"), py::call_guard<NativeCall>());
}

}  // namespace mnistcnn::bindings
