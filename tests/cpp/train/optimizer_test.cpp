#include "mnistcnn/train/optimizer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "mnistcnn/common/thread_pool.h"

namespace mnistcnn::train {
namespace {

// Reference implementation of SGD for one parameter, in double.
struct ReferenceSgd {
  double value, velocity = 0;
  bool started = false;

  void step(double gradient, double rate, const Sgd& options) {
    gradient += options.weight_decay * value;
    velocity = started ? options.momentum * velocity + (1 - options.dampening) * gradient : gradient;
    started = true;
    const double direction = options.momentum == 0 ? gradient
                             : options.nesterov    ? gradient + options.momentum * velocity
                                                   : velocity;
    value -= rate * direction;
  }
};

std::vector<ParameterSlice> slices(std::initializer_list<std::int64_t> sizes) {
  std::vector<ParameterSlice> result;
  std::int64_t begin = 0;
  for (const std::int64_t size : sizes) {
    result.push_back({{begin, begin + size}, 0});
    begin += size;
  }
  return result;
}

Optimizer make_optimizer(const Rule& rule, const at::Tensor& values) {
  const std::int64_t count = values.numel();
  return {rule, {}, slices({count}), {{0, count}}, {}};
}

const std::vector<Rule> kRules = {Sgd{},
                                  Sgd{0.9, 0.3, 0.1, false},
                                  Sgd{0.8, 0, 0.01, true},
                                  Adam{},
                                  Adam{.weight_decay = 0.1, .amsgrad = true, .decoupled_weight_decay = true},
                                  NAdam{.weight_decay = 0.1},
                                  RMSprop{},
                                  RMSprop{.momentum = 0.9, .centered = true},
                                  RMSprop{.centered = true},
                                  RMSprop{.momentum = 0.9},
                                  Adagrad{.lr_decay = 0.1, .initial_accumulator_value = 0.5},
                                  Muon{}};

TEST(Optimizer, SgdEqualsReference) {
  const Sgd cases[] = {
      {0, 0, 0, false}, {0.9, 0, 0, false}, {0.9, 0.3, 0.1, false}, {0.8, 0, 0.01, true}, {0, 0, 0.2, false}};
  for (const Sgd& rule : cases) {
    at::Tensor values = at::rand({3});
    ReferenceSgd reference{values[1].item<double>()};
    Optimizer optimizer = make_optimizer(rule, values);
    for (int step = 0; step < 20; ++step) {
      const at::Tensor gradients = at::rand({3});
      optimizer.step(values, gradients, 0.05, {});
      reference.step(gradients[1].item<double>(), 0.05, rule);
    }
    EXPECT_NEAR(values[1].item<double>(), reference.value,
                1e-5);  // rounding errors of 20 float operations on numbers near 1
  }
}

// Devices other than the CPU use tensor operations with the same formulas.
TEST(Optimizer, TensorAndFloatImplementationsAgree) {
  const GradientOptions options{0.01, 2.0, 0.5};
  for (const Rule& rule : kRules) {
    at::Tensor floats = at::randn({37});
    at::Tensor tensors = floats.clone();
    const auto parameter_list = slices({5, 20, 12});
    Optimizer first_optimizer(rule, options, parameter_list, {{0, 25}}, {{5, 25}});
    Optimizer tensor_optimizer(rule, options, parameter_list, {{0, 25}}, {{5, 25}});
    for (int step = 0; step < 10; ++step) {
      const at::Tensor gradients = at::randn({37});
      first_optimizer.step(floats, gradients, 0.01, {});
      tensor_optimizer.step(tensors, gradients, 0.01, {}, common::serial_for, CodePath::kTensors);
    }
    EXPECT_TRUE(at::allclose(floats, tensors, 1e-5, 1e-6)) << rule.index();
  }
}

common::ParallelFor parallel_for_on(common::ThreadPool& pool) {
  return [&pool](int tasks, const common::Task& run) {
    const auto run_task = [](void* context, int task, int) noexcept {
      (*static_cast<const common::Task*>(context))(task);
    };
    const common::ThreadPool::Phase phase{tasks, run_task, nullptr, const_cast<common::Task*>(&run)};
    pool.run({&phase, 1});
  };
}

// Large enough for several tasks, with a frozen and an undecayed parameter. The last parameter is a matrix for Muon.
struct LargeParameters {
  std::vector<ParameterSlice> slices{
      {{0, 50'001}, 0}, {{50'001, 70'000}, 0}, {{70'000, 120'003}, 0}, {{120'003, 120'067}, 8}};
  std::int64_t count = 120'067;
  std::vector<ParameterRange> trainable{{0, 50'001}, {70'000, 120'067}}, undecayed{{50'001, 120'003}};
};

TEST(Optimizer, ResultsDoNotDependOnThreads) {
  at::set_num_threads(1);  // PyTorch's threads would spin on the cores that the pools need
  const LargeParameters parameters;
  for (const GradientOptions& options : {GradientOptions{}, GradientOptions{0.01, 2.0, 0.5}})
    for (const Rule& rule : kRules) {
      const at::Tensor initial = at::rand({parameters.count}) - 0.5;
      std::vector<at::Tensor> gradients;
      for (int step = 0; step < 3; ++step) gradients.push_back(at::rand({parameters.count}) - 0.5);
      const auto run = [&](const common::ParallelFor& parallel_for) {
        at::Tensor values = initial.clone();
        Optimizer optimizer(rule, options, parameters.slices, parameters.trainable, parameters.undecayed);
        for (const at::Tensor& each : gradients) optimizer.step(values, each, 0.01, {}, parallel_for);
        NamedTensors state = optimizer.state();
        state["values"] = values;
        return state;
      };
      const NamedTensors serial = run(common::serial_for);
      EXPECT_FALSE(serial.at("values").equal(initial));
      for (const int threads : {1, 2, 5}) {
        common::ThreadPool pool(threads);
        for (const auto& [name, tensor] : run(parallel_for_on(pool)))
          EXPECT_TRUE(tensor.equal(serial.at(name))) << "rule " << rule.index() << ", " << name << ", " << threads;
      }
    }
}

TEST(Optimizer, LargeParametersAreUpdatedLikeSmallOnes) {
  constexpr std::int64_t kCount = 50'000;
  for (const Rule& rule : kRules) {
    const at::Tensor gradients = at::rand({kCount}) - 0.5;
    at::Tensor one_parameter = at::rand({kCount}) - 0.5;
    at::Tensor two_parameters = one_parameter.clone();
    Optimizer one(rule, {}, slices({kCount}), {{0, kCount}}, {});
    // Weight decay is 0 or applies to both, but the parameters form two segments because their steps differ.
    Optimizer two(rule, {}, slices({9'999, kCount - 9'999}), {{0, kCount}}, {});
    one.step(one_parameter, gradients, 0.01, {});
    two.set_trainable({{0, 9'999}});
    two.step(two_parameters, gradients, 0.01, {});
    two.set_trainable({{9'999, kCount}});
    two.step(two_parameters, gradients, 0.01, {});
    EXPECT_TRUE(one_parameter.equal(two_parameters)) << rule.index();
  }
}

// The norm is a sum over tasks. Its reference is summed in tensors.
TEST(Optimizer, ClipsTheNormOfLargeParameters) {
  const LargeParameters parameters;
  const at::Tensor initial = at::rand({parameters.count}) - 0.5, gradients = at::rand({parameters.count}) - 0.5;
  at::Tensor values = initial.clone();
  Optimizer optimizer(Sgd{}, {.clip_norm = 2.0}, parameters.slices, parameters.trainable, {});
  optimizer.step(values, gradients, 1, {});
  const at::Tensor change = (values - initial).to(at::kDouble);
  EXPECT_NEAR(change.square().sum().item<double>(), 4.0, 1e-4);
}

TEST(Optimizer, DoesNotUpdateFrozenParameters) {
  for (const Rule& rule : kRules) {
    at::Tensor values = at::rand({6});
    const at::Tensor before = values.clone();
    Optimizer optimizer(rule, {}, slices({1, 1, 2, 2}), {{1, 2}, {4, 6}}, {});
    optimizer.step(values, at::rand({6}), 0.1, {});
    const at::Tensor changed = values.ne(before);
    for (const std::int64_t i : {0, 2, 3}) EXPECT_FALSE(changed[i].item<bool>()) << i;
    for (const std::int64_t i : {1, 4, 5}) EXPECT_TRUE(changed[i].item<bool>()) << i;
  }
}

TEST(Optimizer, RestoredOptimizerContinuesIdentically) {
  for (const Rule& rule : kRules) {
    const at::Tensor gradient = at::rand({4});
    at::Tensor uninterrupted = at::rand({4});
    Optimizer first_optimizer = make_optimizer(rule, uninterrupted);
    for (int step = 0; step < 3; ++step) first_optimizer.step(uninterrupted, gradient, 0.1, {});
    at::Tensor resumed = uninterrupted.clone();
    Optimizer second_optimizer = make_optimizer(rule, resumed);
    second_optimizer.restore(first_optimizer.state());
    first_optimizer.step(uninterrupted, gradient, 0.1, {});
    second_optimizer.step(resumed, gradient, 0.1, {});
    EXPECT_TRUE(uninterrupted.equal(resumed)) << rule.index();
  }
}

TEST(Optimizer, StateIsACopy) {
  at::Tensor values = at::rand({4});
  Optimizer optimizer = make_optimizer(Adam{}, values);
  optimizer.step(values, at::rand({4}), 0.1, {});
  const NamedTensors state = optimizer.state();
  const at::Tensor before = state.at("exp_avg").clone();
  optimizer.step(values, at::rand({4}), 0.1, {});
  EXPECT_TRUE(state.at("exp_avg").equal(before));
}

TEST(Optimizer, UnfrozenParametersStartAtStepOne) {
  at::Tensor values = at::ones({2});
  const at::Tensor gradients = at::ones({2});
  Optimizer optimizer(Adam{}, {}, slices({1, 1}), {{0, 1}}, {});
  for (int step = 0; step < 5; ++step) optimizer.step(values, gradients, 0.1, {});
  optimizer.set_trainable({{0, 2}});
  optimizer.step(values, gradients, 0.1, {});
  EXPECT_NEAR(values[1].item<double>(), 0.9, 1e-6);
}

TEST(Optimizer, ThrowsForInvalidArguments) {
  const at::Tensor values = at::rand({4});
  EXPECT_THROW(Optimizer(Sgd{}, {}, slices({4}), {{2, 5}}, {}), std::invalid_argument);
  EXPECT_THROW(Optimizer(Sgd{}, {}, slices({4}), {{0, 2}}, {}), std::invalid_argument);
  EXPECT_THROW(make_optimizer(Sgd{0, 0, 0, true}, values), std::invalid_argument);
  Optimizer optimizer = make_optimizer(Sgd{0.9, 0, 0, false}, values);
  const at::Tensor steps = at::zeros({1}, at::kLong);
  EXPECT_THROW(optimizer.restore({{"momentum_buffer", at::rand({3})}, {"steps", steps}}), std::invalid_argument);
  EXPECT_THROW(optimizer.restore({{"exp_avg", at::rand({4})}, {"steps", steps}}), std::invalid_argument);
  EXPECT_THROW(optimizer.restore({{"steps", steps}}), std::invalid_argument);
  at::Tensor shorter = at::rand({3});
  EXPECT_THROW(optimizer.step(shorter, at::rand({4}), 0.1, {}), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::train
