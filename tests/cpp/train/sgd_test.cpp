#include "mnistcnn/train/sgd.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace mnistcnn::train {
namespace {

// One number by the textbook, in double.
struct Slow {
  double value, velocity = 0;
  bool started = false;

  void step(double gradient, double rate, const SgdOptions& options) {
    gradient += options.weight_decay * value;
    velocity = started ? options.momentum * velocity + (1 - options.dampening) * gradient : gradient;
    started = true;
    const double direction = options.momentum == 0 ? gradient
                             : options.nesterov    ? gradient + options.momentum * velocity
                                                   : velocity;
    value -= rate * direction;
  }
};

TEST(Sgd, FollowsTheTextbook) {
  const SgdOptions cases[] = {
      {0, 0, 0, false}, {0.9, 0, 0, false}, {0.9, 0.3, 0.1, false}, {0.8, 0, 0.01, true}, {0, 0, 0.2, false}};
  for (const SgdOptions& options : cases) {
    at::Tensor values = at::rand({3});
    Slow slow{values[1].item<double>()};
    Sgd sgd(options, {{0, 3}}, values);
    for (int step = 0; step < 20; ++step) {
      const at::Tensor gradients = at::rand({3});
      sgd.step(values, gradients, 0.05);
      slow.step(gradients[1].item<double>(), 0.05, options);
    }
    EXPECT_NEAR(values[1].item<double>(), slow.value, 1e-5);  // 20 float roundings of numbers near 1
  }
}

TEST(Sgd, LeavesFrozenStretchesAlone) {
  at::Tensor values = at::rand({6});
  const at::Tensor before = values.clone();
  Sgd sgd({0.9, 0, 0, false}, {{1, 2}, {4, 6}}, values);
  sgd.step(values, at::rand({6}), 0.1);
  const at::Tensor changed = values.ne(before);
  for (const std::int64_t i : {0, 2, 3}) EXPECT_FALSE(changed[i].item<bool>()) << i;
  for (const std::int64_t i : {1, 4, 5}) EXPECT_TRUE(changed[i].item<bool>()) << i;
}

TEST(Sgd, GoesOnWhereItWas) {
  const at::Tensor start = at::rand({4}), gradient = at::rand({4});
  at::Tensor whole = start.clone();
  Sgd one({0.9, 0.5, 0, false}, {{0, 4}}, whole);
  one.step(whole, gradient, 0.1);
  at::Tensor resumed = whole.clone();
  Sgd two({0.9, 0.5, 0, false}, {{0, 4}}, resumed);
  two.restore(one.velocity(), one.started());
  one.step(whole, gradient, 0.1);
  two.step(resumed, gradient, 0.1);
  EXPECT_TRUE(whole.equal(resumed));
}

TEST(Sgd, RefusesNonsense) {
  const at::Tensor values = at::rand({4});
  EXPECT_THROW(Sgd({}, {{2, 5}}, values), std::invalid_argument);
  EXPECT_THROW(Sgd({0, 0, 0, true}, {{0, 4}}, values), std::invalid_argument);
  Sgd sgd({0.9, 0, 0, false}, {{0, 4}}, values);
  EXPECT_THROW(sgd.restore(at::rand({3}), true), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::train
