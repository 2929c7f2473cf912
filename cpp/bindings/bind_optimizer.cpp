#include <memory>
#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/network/tensors.h"
#include "mnistcnn/train/optimizer.h"

namespace mnistcnn::bindings {
namespace {

using common::text;
using network::Network;

using RangePairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::vector<train::Range> read_ranges(const RangePairs& pairs) {
  std::vector<train::Range> ranges;
  for (const auto& [begin, end] : pairs) ranges.push_back({begin, end});
  return ranges;
}

// A rule's own fields from `settings`; what is left over, or lacking, is named.
template <class Kind>
train::Rule read_rule(Kind rule, const py::dict& settings, std::size_t& known) {
  rule.visit(rule, [&](const char* name, auto& value) {
    if (!settings.contains(name)) throw std::invalid_argument(text(rule.kKind, " lacks the setting '", name, "'"));
    value = settings[name].template cast<std::decay_t<decltype(value)>>();
    ++known;
  });
  return rule;
}

template <std::size_t... index>
train::Rule read_rule(const std::string& kind, const py::dict& settings, std::size_t& known,
                      std::index_sequence<index...>) {
  std::optional<train::Rule> rule;
  const auto read = [&](const auto& each) {
    if (kind == each.kKind) rule = read_rule(each, settings, known);
  };
  (read(std::variant_alternative_t<index, train::Rule>{}), ...);
  if (!rule) throw std::invalid_argument(text("there is no optimizer '", kind, "'"));
  return *rule;
}

std::unique_ptr<train::Optimizer> make_optimizer(const Network& network, const py::dict& settings,
                                                 const RangePairs& trainable, const RangePairs& undecayed) {
  const train::GradientOptions gradients{settings["l1"].cast<double>(), settings["clip_norm"].cast<double>(),
                                         settings["clip_value"].cast<double>()};
  std::size_t known = 4;
  const auto kinds = std::make_index_sequence<std::variant_size_v<train::Rule>>{};
  const train::Rule rule = read_rule(settings["kind"].cast<std::string>(), settings, known, kinds);
  if (known != settings.size()) throw std::invalid_argument("the optimizer's settings have names it doesn't know");
  return std::make_unique<train::Optimizer>(rule, gradients, train::pieces_of(network.analysis), read_ranges(trainable),
                                            read_ranges(undecayed));
}

}  // namespace

void bind_optimizer(py::module_& module) {
  py::class_<train::Optimizer>(module, "Optimizer")
      .def(py::init(&make_optimizer), py::arg("network"), py::arg("settings"), py::kw_only(), py::arg("trainable"),
           py::arg("undecayed"))
      .def(
          "set_trainable",
          [](train::Optimizer& optimizer, const RangePairs& trainable) {
            optimizer.set_trainable(read_ranges(trainable));
          },
          py::arg("trainable"))
      .def(
          "step",
          [](train::Optimizer& optimizer, at::Tensor values, const at::Tensor& gradients, double learning_rate,
             std::optional<double> momentum) {
            const py::gil_scoped_release no_gil;
            optimizer.step(values, gradients, learning_rate, momentum);
          },
          py::arg("values"), py::arg("gradients"), py::kw_only(), py::arg("learning_rate"), py::arg("momentum"))
      .def("state", &train::Optimizer::state)
      .def("restore", &train::Optimizer::restore, py::arg("state"));
}

}  // namespace mnistcnn::bindings
