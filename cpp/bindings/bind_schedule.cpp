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
    throw std::invalid_argument(common::text("there is no annealing '", name, "'"));
  annealing = name == "cos" ? train::Annealing::kCosine : train::Annealing::kLinear;
}

namespace {

using train::Schedule;
using train::SchedulePlan;

// A std::variant is no class for pybind11, a struct that holds one is.
struct BoundSchedule {
  Schedule value;
};

Schedule make_schedule(const std::string& kind, const py::dict& settings) {
  std::size_t known = 0;
  Schedule schedule = read_alternative<Schedule>(kind, settings, known, "schedule");
  if (known != settings.size()) throw std::invalid_argument(common::text(kind, " has settings that it doesn't know"));
  return schedule;
}

SchedulePlan make_plan(double learning_rate, std::int64_t epochs, std::int64_t steps, std::optional<double> momentum) {
  if (epochs < 1 || steps < 1)
    throw std::invalid_argument(common::text("a plan needs at least 1 epoch of 1 step, got ", epochs, " of ", steps));
  return {learning_rate, epochs, steps, momentum};
}

// (learning rates, momenta or None)
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
