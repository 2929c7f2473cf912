#include "mnistcnn/train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::train {
namespace {

double to_double(std::int64_t number) { return static_cast<double>(number); }

double power(double base, std::int64_t exponent) {
  const double result = std::pow(base, to_double(exponent));
  if (!std::isfinite(result))
    throw std::overflow_error(common::text("the learning rate overflows: gamma ** n with gamma=", base,
                                           " and n=", exponent, "; use gamma <= 1"));
  return result;
}

double rate_of(const ConstantLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return plan.learning_rate * (epoch < schedule.total_iters ? schedule.factor : 1.0);
}

double rate_of(const StepLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return plan.learning_rate * power(schedule.gamma, epoch / schedule.step_size);
}

double rate_of(const MultiStepLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  const auto passed = std::ranges::count_if(schedule.milestones, [&](std::int64_t each) { return each <= epoch; });
  return plan.learning_rate * power(schedule.gamma, passed);
}

double rate_of(const ExponentialLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return plan.learning_rate * power(schedule.gamma, epoch);
}

// epochs_done: fractional within an epoch
double cosine_rate(const CosineAnnealing& schedule, const SchedulePlan& plan, double epochs_done) {
  const double warmup = to_double(schedule.warmup_epochs);
  if (epochs_done < warmup) {
    const double rise = (1 - schedule.warmup_start) * epochs_done / warmup;
    return plan.learning_rate * (schedule.warmup_start + rise);
  }
  const double length = to_double(schedule.t_max.value_or(plan.epochs - schedule.warmup_epochs));
  const double cosine_factor = (1 + std::cos(std::numbers::pi * (epochs_done - warmup) / length)) / 2;
  return schedule.eta_min + (plan.learning_rate - schedule.eta_min) * cosine_factor;
}

double rate_of(const CosineAnnealing& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return cosine_rate(schedule, plan, to_double(epoch));
}

// A point where two phases of the cycle meet.
struct CyclePoint {
  double step, value;
};

double interpolate(const OneCycleLR& schedule, double first, double last, double fraction) {
  if (schedule.anneal_strategy == Annealing::kLinear) return first + (last - first) * fraction;
  return last + (first - last) / 2 * (1 + std::cos(std::numbers::pi * fraction));
}

// Two phases: start, top, end. Three phases: start, top, start, end.
double cycle_value(const OneCycleLR& schedule, const SchedulePlan& plan, std::int64_t step, double start, double top,
                   double end) {
  const double total = to_double(plan.epochs * plan.steps);
  const double peak = schedule.pct_start * total - 1;
  const std::array<CyclePoint, 4> four_points{{{0, start}, {peak, top}, {2 * peak, start}, {total - 1, end}}};
  const std::array<CyclePoint, 3> three_points{{four_points[0], four_points[1], four_points[3]}};
  const std::span<const CyclePoint> points =
      schedule.three_phase ? std::span<const CyclePoint>(four_points) : three_points;
  std::size_t right = 1;
  while (to_double(step) > points[right].step && points[right].step != points.back().step) ++right;
  const CyclePoint &from = points[right - 1], &to = points[right];
  const double fraction = to.step != from.step ? (to_double(step) - from.step) / (to.step - from.step) : 1.0;
  return interpolate(schedule, from.value, to.value, fraction);
}

double cycle_rate(const OneCycleLR& schedule, const SchedulePlan& plan, std::int64_t step) {
  const double start = schedule.max_lr / schedule.div_factor;
  return cycle_value(schedule, plan, step, start, schedule.max_lr, start / schedule.final_div_factor);
}

double rate_of(const OneCycleLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return cycle_rate(schedule, plan, epoch * plan.steps);
}

Rates rates_of(const auto& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return {std::vector<double>(static_cast<std::size_t>(plan.steps), rate_of(schedule, plan, epoch))};
}

Rates rates_of(const CosineAnnealing& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  Rates result;
  for (std::int64_t step = 0; step < plan.steps; ++step) {
    const double within = schedule.per_step ? to_double(step) / to_double(plan.steps) : 0;
    result.learning_rates.push_back(cosine_rate(schedule, plan, to_double(epoch) + within));
  }
  return result;
}

Rates rates_of(const OneCycleLR& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  Rates result;
  for (std::int64_t step = epoch * plan.steps; step < (epoch + 1) * plan.steps; ++step) {
    result.learning_rates.push_back(cycle_rate(schedule, plan, step));
    if (schedule.cycle_momentum)
      result.momenta.push_back(
          cycle_value(schedule, plan, step, schedule.max_momentum, schedule.base_momentum, schedule.max_momentum));
  }
  return result;
}

void check_plan(const auto&, const SchedulePlan&) {}

void check_plan(const CosineAnnealing& schedule, const SchedulePlan& plan) {
  if (!schedule.t_max && schedule.warmup_epochs >= plan.epochs)
    throw std::invalid_argument(common::text("warmup_epochs must be fewer than the run's ", plan.epochs,
                                             " epochs, got ", schedule.warmup_epochs));
}

void check_plan(const OneCycleLR& schedule, const SchedulePlan& plan) {
  if (schedule.cycle_momentum && !plan.momentum)
    throw std::invalid_argument("OneCycleLR: the optimizer has no momentum to cycle; set cycle_momentum=False");
  if (plan.epochs * plan.steps < 2) throw std::invalid_argument("OneCycleLR requires a run of at least 2 steps");
}

}  // namespace

double epoch_rate(const Schedule& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return std::visit([&](const auto& each) { return rate_of(each, plan, epoch); }, schedule);
}

Rates rates(const Schedule& schedule, const SchedulePlan& plan, std::int64_t epoch) {
  return std::visit([&](const auto& each) { return rates_of(each, plan, epoch); }, schedule);
}

void check(const Schedule& schedule, const SchedulePlan& plan) {
  std::visit([&](const auto& each) { check_plan(each, plan); }, schedule);
}

}  // namespace mnistcnn::train
