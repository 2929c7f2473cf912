#include "mnistcnn/train/averaging.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <stdexcept>

namespace mnistcnn::train {
namespace {

bool has_buffers(const AveragingRule& rule) {
  const auto* ema = std::get_if<Ema>(&rule);
  return ema != nullptr && ema->buffers;
}

void swap_contents(at::Tensor& one, at::Tensor& other) {
  const at::Tensor copy = one.clone();
  one.copy_(other);
  other.copy_(copy);
}

// Call run(to, from) for consecutive pieces of both arrays. ATen divides arrays of more than 32,768 elements among
// OpenMP threads. They would compete with the threads of the engine in every step, and results would depend on their
// number.
template <class Run>
void for_each_piece(at::Tensor& to, const at::Tensor& from, Run run) {
  constexpr std::int64_t kElements = 1 << 14;
  const std::int64_t count = to.numel(), size = to.is_cpu() ? kElements : count;
  for (std::int64_t begin = 0; begin < count; begin += size) {
    const std::int64_t end = std::min(begin + size, count);
    at::Tensor piece = to.slice(0, begin, end);
    run(piece, from.slice(0, begin, end));
  }
}

void move_towards(at::Tensor& average, const at::Tensor& values, double weight) {
  for_each_piece(average, values, [&](at::Tensor& to, const at::Tensor& from) { to.lerp_(from, weight); });
}

}  // namespace

Averaging::Averaging(AveragingRule rule, const FlatParameters& parameters) : rule_(rule) {
  const c10::InferenceMode ordinary(false);
  values_ = parameters.values.detach().clone();
  if (has_buffers(rule_)) buffers_ = parameters.buffers.detach().clone();
}

bool Averaging::ready() const { return averaged_ > 0 || std::holds_alternative<Lookahead>(rule_); }

bool Averaging::used_for_validation() const {
  return std::visit([](const auto& rule) { return rule.kUsedForValidation; }, rule_);
}

bool Averaging::needs_new_statistics() const {
  return std::visit([](const auto& rule) { return rule.kNeedsNewStatistics; }, rule_);
}

void Averaging::after_step(FlatParameters& parameters) {
  if (exchanged_)
    throw std::logic_error("the model holds the averaged weights; call exchange before the next training step");
  const at::NoGradGuard guard;
  move_to_device_of(parameters);
  ++steps_;
  std::visit([&](const auto& rule) { update(rule, parameters); }, rule_);
}

void Averaging::update(const Ema& rule, FlatParameters& parameters) {
  if (steps_ % rule.every != 0) return;
  const auto count = static_cast<double>(averaged_);
  const double decay = rule.warm_up ? std::min(rule.decay, (1 + count) / (10 + count)) : rule.decay;
  update_average(parameters, averaged_ == 0 ? 1 : 1 - decay);
}

void Averaging::update(const Lookahead& rule, FlatParameters& parameters) {
  if (steps_ % rule.k != 0) return;
  update_average(parameters, rule.alpha);
  for_each_piece(parameters.values, values_, [](at::Tensor& to, const at::Tensor& from) { to.copy_(from); });
}

void Averaging::after_epoch(const FlatParameters& parameters, std::uint64_t epoch) {
  const auto* rule = std::get_if<Swa>(&rule_);
  const std::int64_t number = static_cast<std::int64_t>(epoch) + 1;
  if (rule == nullptr || number < rule->start_epoch || (number - rule->start_epoch) % rule->every != 0) return;
  const at::NoGradGuard guard;
  move_to_device_of(parameters);
  update_average(parameters, 1 / static_cast<double>(averaged_ + 1));
}

// average += weight * (model - average)
void Averaging::update_average(const FlatParameters& parameters, double weight) {
  move_towards(values_, parameters.values, weight);
  if (buffers_.defined()) move_towards(buffers_, parameters.buffers, weight);
  ++averaged_;
}

void Averaging::exchange(FlatParameters& parameters) {
  if (!ready()) throw std::logic_error("exchange: there are no averaged weights yet");
  const at::NoGradGuard guard;
  move_to_device_of(parameters);
  swap_contents(values_, parameters.values);
  if (buffers_.defined()) swap_contents(buffers_, parameters.buffers);
  exchanged_ = !exchanged_;
}

void Averaging::copy_to(FlatParameters& parameters) const {
  if (exchanged_) throw std::logic_error("the model already holds the averaged weights; call exchange first");
  if (!ready()) return;
  const at::NoGradGuard guard;
  parameters.values.copy_(values_);
  if (buffers_.defined()) parameters.buffers.copy_(buffers_);
}

// The model may have been moved to another device since the last step.
void Averaging::move_to_device_of(const FlatParameters& parameters) {
  const at::Device device = parameters.values.device();
  if (values_.device() == device) return;
  values_ = values_.to(device);
  if (buffers_.defined()) buffers_ = buffers_.to(device);
}

NamedTensors Averaging::state() const {
  NamedTensors result;
  at::Tensor counts = at::empty({2}, at::kLong);
  counts.mutable_data_ptr<std::int64_t>()[0] = averaged_;
  counts.mutable_data_ptr<std::int64_t>()[1] = steps_;
  result["counts"] = counts;
  result["values"] = values_.clone();
  if (buffers_.defined()) result["buffers"] = buffers_.clone();
  return result;
}

void Averaging::check_state(const NamedTensors& state) const {
  if (exchanged_) throw std::logic_error("the model holds the averaged weights; call exchange first");
  stored_tensor("averages", state, "counts", 2, at::kLong);
  stored_tensor("averages", state, "values", values_.numel(), at::kFloat);
  if (buffers_.defined()) stored_tensor("averages", state, "buffers", buffers_.numel(), at::kFloat);
}

void Averaging::restore(const NamedTensors& state) {
  check_state(state);
  const at::Tensor counts = state.at("counts").cpu().contiguous();
  values_.copy_(state.at("values"));
  if (buffers_.defined()) buffers_.copy_(state.at("buffers"));
  averaged_ = counts.const_data_ptr<std::int64_t>()[0];
  steps_ = counts.const_data_ptr<std::int64_t>()[1];
}

}  // namespace mnistcnn::train
