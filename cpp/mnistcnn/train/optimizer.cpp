#include "mnistcnn/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "mnistcnn/common/text.h"

namespace mnistcnn::train {
namespace {

using common::text;

Slots slots_of(const Rule& rule) {
  return std::visit([](const auto& each) { return each.slots(); }, rule);
}

double initial_state_value(const Rule& rule) {
  const auto* adagrad = std::get_if<Adagrad>(&rule);
  return adagrad == nullptr ? 0 : adagrad->initial_accumulator_value;
}

// Return whether Muon updates a parameter as a matrix. The weights of layer norms may have several dimensions, too.
bool is_matrix(const network::TensorSpec& spec, const network::Layer& owner) {
  const bool multiplies =
      std::holds_alternative<network::Conv2d>(owner) || std::holds_alternative<network::Linear>(owner);
  return multiplies && spec.role == network::Role::kWeight;
}

// Return which parameters the ranges contain. Throw std::invalid_argument if a range contains a part of a parameter.
std::vector<bool> select_slices(const std::vector<ParameterSlice>& slices, const std::vector<ParameterRange>& ranges,
                                std::int64_t count) {
  std::vector<bool> result(slices.size(), false);
  for (const ParameterRange& range : ranges) {
    std::int64_t covered = 0;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const ParameterRange& slice = slices[i].range;
      if (slice.begin < range.begin || slice.end > range.end) continue;
      result[i] = true;
      covered += slice.end - slice.begin;
    }
    if (covered != range.end - range.begin)
      throw std::invalid_argument(text("the range [", range.begin, ", ", range.end,
                                       ") does not consist of whole parameters; there are ", count, " elements"));
  }
  return result;
}

// Elements of a task. The arrays of a task fit an L2 cache.
constexpr std::int64_t kTaskElements = 1 << 14;

int tasks_for(ParameterRange range) {
  return static_cast<int>((range.end - range.begin + kTaskElements - 1) / kTaskElements);
}

// Call run(task, part) for consecutive parts of the range. The parts do not depend on the number of threads.
template <class Run>
void for_each_part(ParameterRange range, const common::ParallelFor& parallel_for, Run run) {
  const auto run_task = [&](int task) noexcept {
    const std::int64_t begin = range.begin + task * kTaskElements;
    run(task, ParameterRange{begin, std::min(begin + kTaskElements, range.end)});
  };
  const int tasks = tasks_for(range);
  if (tasks == 1) return run_task(0);
  parallel_for(tasks, run_task);
}

// Eight independent sums allow vectorisation. Double precision makes the rounding error negligible for any length.
double sum_of_squares(const float* gradients, const float* values, float l1, ParameterRange range) {
  constexpr std::int64_t kSums = 8;
  std::array<double, kSums> sums{};
  std::int64_t i = range.begin;
  const auto square = [&](std::int64_t index) {
    const double gradient = gradients[index] + l1 * sign_of(values[index]);
    return gradient * gradient;
  };
  for (; i + kSums <= range.end; i += kSums)
    for (std::int64_t lane = 0; lane < kSums; ++lane) sums[static_cast<std::size_t>(lane)] += square(i + lane);
  for (; i < range.end; ++i) sums[0] += square(i);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <class Number>
at::Tensor as_tensor(const std::vector<Number>& numbers, at::ScalarType type) {
  at::Tensor result = at::empty({static_cast<std::int64_t>(numbers.size())}, type);
  std::copy(numbers.begin(), numbers.end(), result.mutable_data_ptr<Number>());
  return result;
}

template <class Number>
void read_into(std::vector<Number>& numbers, const at::Tensor& tensor) {
  const at::Tensor here = tensor.cpu().contiguous();
  std::copy_n(here.const_data_ptr<Number>(), numbers.size(), numbers.begin());
}

}  // namespace

std::optional<double> momentum_of(const Rule& rule) {
  std::optional<double> found;
  const auto read = [&](std::string_view name, const auto& value) {
    if (name == "momentum" || name == "beta1") found = static_cast<double>(value);
  };
  std::visit([&](const auto& each) { each.visit(each, read); }, rule);
  return found;
}

Rule with_momentum(Rule rule, double momentum) {
  const auto change = [&](std::string_view name, auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>)
      if (name == "momentum" && value == 0) value = momentum;
  };
  std::visit([&](auto& each) { each.visit(each, change); }, rule);
  return rule;
}

std::vector<ParameterSlice> parameter_slices(const network::Network& network) {
  std::vector<ParameterSlice> slices;
  for (const network::TensorSpec& spec : network.analysis.parameters) {
    const bool matrix = is_matrix(spec, network.graph.nodes[static_cast<std::size_t>(spec.node)].layer);
    slices.push_back({{spec.offset, spec.offset + spec.count}, matrix ? spec.shape[0] : 0});
  }
  return slices;
}

Optimizer::Optimizer(Rule rule, GradientOptions options, std::vector<ParameterSlice> slices,
                     const std::vector<ParameterRange>& trainable, const std::vector<ParameterRange>& undecayed)
    : rule_(std::move(rule)),
      options_(options),
      slices_(std::move(slices)),
      steps_(slices_.size(), 0),
      momentum_products_(slices_.size(), 1),
      count_(slices_.empty() ? 0 : slices_.back().range.end) {
  const c10::InferenceMode ordinary(false);
  if (const auto* sgd = std::get_if<Sgd>(&rule_)) sgd->check();
  decayed_ = select_slices(slices_, undecayed, count_);
  decayed_.flip();
  set_trainable(trainable);
  for (std::size_t i = 0; i < slots_of(rule_).size(); ++i)
    slots_.push_back(at::full({count_}, initial_state_value(rule_), at::kFloat));
}

void Optimizer::set_trainable(const std::vector<ParameterRange>& trainable) {
  trainable_ = select_slices(slices_, trainable, count_);
  build_segments();
}

bool Optimizer::extends(const Segment& segment, std::size_t slice) const {
  return segment.last == slice && segment.range.end == slices_[slice].range.begin &&
         segment.decayed == decayed_[slice] && segment.rows == 0 && steps_[segment.first] == steps_[slice] &&
         momentum_products_[segment.first] == momentum_products_[slice];
}

void Optimizer::build_segments() {
  segments_.clear();
  const bool has_matrices = std::holds_alternative<Muon>(rule_);
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (!trainable_[i] || slices_[i].range.begin == slices_[i].range.end) continue;
    const std::int64_t rows = has_matrices ? slices_[i].rows : 0;
    if (rows == 0 && !segments_.empty() && extends(segments_.back(), i)) {
      segments_.back().last = i + 1;
      segments_.back().range.end = slices_[i].range.end;
    } else {
      segments_.push_back({i, i + 1, slices_[i].range, decayed_[i], rows});
    }
  }
}

bool Optimizer::has_momentum() const {
  return std::visit([](const auto& rule) { return rule.has_momentum(); }, rule_);
}

void Optimizer::step(at::Tensor& values, const at::Tensor& gradients, double learning_rate,
                     std::optional<double> momentum, const common::ParallelFor& parallel_for, CodePath path) {
  const c10::InferenceMode ordinary(false);
  const at::NoGradGuard guard;
  for (const at::Tensor* each : {&std::as_const(values), &gradients})
    if (each->dim() != 1 || each->numel() != count_ || each->scalar_type() != at::kFloat || !each->is_contiguous())
      throw std::invalid_argument(text("values and gradients must be contiguous float32 [", count_, "], got ",
                                       each->toString(), " ", common::bracketed(each->sizes())));
  const Call call{values, gradients, parallel_for, values.is_cpu() ? path : CodePath::kTensors};
  move_state_to(values.device());
  GradientTransform transform = gradient_transform(call);
  for (const Segment& segment : segments_) {
    double product = momentum_products_[segment.first];
    const OptimizerStep current_step{learning_rate, momentum, segment.decayed, steps_[segment.first] + 1, &product};
    transform.l1 = segment.decayed ? static_cast<float>(options_.l1) : 0.0F;
    if (segment.rows > 0)
      step_matrix(std::get<Muon>(rule_), current_step, transform, segment, call);
    else
      std::visit(
          [&](const auto& rule) {
            rule.with_formula(current_step, [&](const auto& formula) { apply(formula, transform, segment, call); });
          },
          rule_);
    for (std::size_t i = segment.first; i < segment.last; ++i) {
      ++steps_[i];
      momentum_products_[i] = product;
    }
  }
}

template <class Formula>
void Optimizer::apply(const Formula& formula, const GradientTransform& transform, const Segment& segment,
                      const Call& call) {
  constexpr std::size_t kSlots = Formula::kSlots;
  if (call.path == CodePath::kTensors) {
    std::array<at::Tensor, kSlots> slots;
    std::copy_n(slots_.begin(), kSlots, slots.begin());
    return update_tensors(formula, transform, segment.range, call.values, call.gradients, slots);
  }
  std::array<float*, kSlots> slots{};
  for (std::size_t i = 0; i < kSlots; ++i) slots[i] = slots_[i].mutable_data_ptr<float>();
  float* const values = call.values.mutable_data_ptr<float>();
  const float* const gradients = call.gradients.const_data_ptr<float>();
  for_each_part(segment.range, call.parallel_for,
                [&](int, ParameterRange part) { update_floats(formula, transform, part, values, gradients, slots); });
}

void Optimizer::step_matrix(const Muon& muon, const OptimizerStep& step, const GradientTransform& transform,
                            const Segment& segment, const Call& call) {
  const auto matrix = [&](const at::Tensor& flat) {
    return flat.slice(0, segment.range.begin, segment.range.end).view({segment.rows, -1});
  };
  const at::Tensor values = matrix(call.values);
  muon.step_matrix(step, values, transform(matrix(call.gradients), values), matrix(slots_.back()));
}

GradientTransform Optimizer::gradient_transform(const Call& call) const {
  GradientTransform result{.limit = static_cast<float>(options_.clip_value)};
  if (std::isfinite(options_.clip_norm))
    result.factor = static_cast<float>(std::min(1.0, options_.clip_norm / (gradient_norm(call) + 1e-6)));
  return result;
}

double Optimizer::gradient_norm(const Call& call) const {
  double total = 0;
  std::vector<double> sums;  // of the parts of a segment
  for (const Segment& segment : segments_) {
    const auto l1 = segment.decayed ? static_cast<float>(options_.l1) : 0.0F;
    if (call.path == CodePath::kTensors) {
      const auto slice_of = [&](const at::Tensor& flat) {
        return flat.slice(0, segment.range.begin, segment.range.end);
      };
      const at::Tensor transformed = slice_of(call.gradients) + l1 * sign_of(slice_of(call.values));
      total += transformed.to(at::kDouble).square().sum().item<double>();
    } else {
      const float* const values = call.values.const_data_ptr<float>();
      const float* const gradients = call.gradients.const_data_ptr<float>();
      sums.resize(static_cast<std::size_t>(tasks_for(segment.range)));
      for_each_part(segment.range, call.parallel_for, [&](int task, ParameterRange part) {
        sums[static_cast<std::size_t>(task)] = sum_of_squares(gradients, values, l1, part);
      });
      total = std::accumulate(sums.begin(), sums.end(), total);
    }
  }
  return std::sqrt(total);
}

// The model may have been moved to another device since the last step.
void Optimizer::move_state_to(const at::Device& device) {
  for (at::Tensor& slot : slots_)
    if (slot.device() != device) slot = slot.to(device);
}

NamedTensors Optimizer::state() const {
  NamedTensors result;
  result["steps"] = as_tensor(steps_, at::kLong);
  if (std::holds_alternative<NAdam>(rule_)) result["mu_products"] = as_tensor(momentum_products_, at::kDouble);
  const Slots names = slots_of(rule_);
  for (std::size_t i = 0; i < names.size(); ++i) result[std::string(names[i])] = slots_[i].clone();
  return result;
}

void Optimizer::check_state(const NamedTensors& state) const {
  const auto slices = static_cast<std::int64_t>(slices_.size());
  const bool has_products = std::holds_alternative<NAdam>(rule_);
  const Slots names = slots_of(rule_);
  if (state.size() != names.size() + 1 + (has_products ? 1 : 0))
    throw std::invalid_argument(
        "the stored optimizer state does not match: it was saved by an optimizer with other options");
  for (const std::string_view name : names) stored_tensor("optimizer", state, std::string(name), count_, at::kFloat);
  stored_tensor("optimizer", state, "steps", slices, at::kLong);
  if (has_products) stored_tensor("optimizer", state, "mu_products", slices, at::kDouble);
}

void Optimizer::restore(const NamedTensors& state) {
  check_state(state);
  const Slots names = slots_of(rule_);
  read_into(steps_, state.at("steps"));
  if (std::holds_alternative<NAdam>(rule_)) read_into(momentum_products_, state.at("mu_products"));
  for (std::size_t i = 0; i < names.size(); ++i) slots_[i].copy_(state.at(std::string(names[i])));
  build_segments();
}

}  // namespace mnistcnn::train
