#include <stdexcept>

#include "bindings.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/train/schedule.h"
#include "settings.h"

namespace mnistcnn::bindings {

template <>
void read_setting(const py::handle& value, train::Annealing& annealing) {
  const auto name = value.cast<std::string>();
  if (name != "cos" && name != "linear")
    throw std::invalid_argument(common::text("unknown anneal_strategy '", name, "', expected 'cos' or 'linear'"));
  annealing = name == "cos" ? train::Annealing::kCosine : train::Annealing::kLinear;
}

namespace {

using train::Schedule;
using train::SchedulePlan;

// pybind11 cannot register a std::variant as a class, so it is wrapped in a struct.
struct BoundSchedule {
  Schedule value;
};

Schedule make_schedule(const std::string& kind, const py::dict& settings) {
  std::size_t known = 0;
  Schedule schedule = read_alternative<Schedule>(kind, settings, known, "schedule");
  if (known != settings.size()) throw std::invalid_argument(common::text(kind, " has unknown settings"));
  if (const auto* step = std::get_if<train::StepLR>(&schedule); step != nullptr && step->step_size < 1)
    throw std::invalid_argument(common::text("step_size must be at least 1, got ", step->step_size));
  return schedule;
}

SchedulePlan make_plan(double learning_rate, std::int64_t epochs, std::int64_t steps, std::optional<double> momentum) {
  if (epochs < 1 || steps < 1)
    throw std::invalid_argument(
        common::text("a run must have at least 1 epoch of at least 1 step, got epochs=", epochs, ", steps=", steps));
  return {learning_rate, epochs, steps, momentum};
}

// Return (learning rates, momenta or None).
py::tuple run_rates(const Schedule& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  train::Rates rates = train::rates(schedule, plan, epoch);
  return py::make_tuple(std::move(rates.learning_rates),
                        rates.momenta.empty() ? py::none() : py::cast(std::move(rates.momenta)));
}

}  // namespace

void bind_schedule(py::module_& module) {
  py::class_<SchedulePlan>(module, "SchedulePlan")
      .def(py::init(&make_plan), py::kw_only(), py::arg("learning_rate"), py::arg("epochs"), py::arg("steps"),
           py::arg("momentum"));
  py::class_<BoundSchedule>(module, "Schedule")
      .def(py::init([](const std::string& kind, const py::dict& settings) {
             return BoundSchedule{make_schedule(kind, settings)};
           }),
           py::arg("kind"), py::arg("settings"))
      .def(
          "epoch_rate",
          [](const BoundSchedule& schedule, const SchedulePlan& plan, std::int64_t epoch) {
            return train::epoch_rate(schedule.value, plan, epoch);
          },
          py::arg("plan"), py::arg("epoch"))
      .def(
          "rates",
          [](const BoundSchedule& schedule, const SchedulePlan& plan, std::int64_t epoch) {
            return run_rates(schedule.value, plan, epoch);
          },
          py::arg("plan"), py::arg("epoch"))
      .def(
          "check", [](const BoundSchedule& schedule, const SchedulePlan& plan) { train::check(schedule.value, plan); },
          py::arg("plan"));
}

}  // namespace mnistcnn::bindings
