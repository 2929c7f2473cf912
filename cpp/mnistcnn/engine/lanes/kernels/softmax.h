#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Softmax over the classes (or channels) of each image, and the two losses with their gradients.
namespace mnistcnn::engine::lanes {
namespace {

struct Normaliser {
  vf maximum, sum;  // the largest, and the sum of e^(x - maximum)

  LANES_INLINE Normaliser(const float* x, int classes, std::int64_t step) {
    maximum = load(x);
    for (int c = 1; c < classes; ++c) maximum = larger(load(x + c * step), maximum);
    sum = vf{};
    for (int c = 0; c < classes;) {  // in two levels: many classes add up without losing digits
      vf some{};
      for (const int end = classes - c < 16 ? classes : c + 16; c < end; ++c)
        some += exponential(load(x + c * step) - maximum);
      sum += some;
    }
  }
};

template <bool kLog>
void softmax_forward(const SoftmaxArguments& args) {
  for (std::int64_t i = 0; i < std::int64_t{args.positions} * kLanes; i += kWidth) {
    const float* x = args.x + i;
    const Normaliser n(x, args.classes, args.class_step);
    const vf log_sum = kLog ? logarithm(n.sum) : vf{};
    for (int c = 0; c < args.classes; ++c) {
      const vf centred = load(x + c * args.class_step) - n.maximum;
      store(args.out + i + c * args.class_step, kLog ? centred - log_sum : exponential(centred) / n.sum);
    }
  }
}

template <bool kLog>
void softmax_backward(const SoftmaxArguments& args) {
  for (std::int64_t i = 0; i < std::int64_t{args.positions} * kLanes; i += kWidth) {
    vf sum{};
    for (int c = 0; c < args.classes; ++c) {
      const vf g = load(args.gradient + i + c * args.class_step);
      sum = kLog ? sum + g : multiply_add(g, load(args.x + i + c * args.class_step), sum);
    }
    for (int c = 0; c < args.classes; ++c) {
      const std::int64_t at = i + c * args.class_step;
      const vf g = load(args.gradient + at), y = load(args.x + at);
      store(args.out + at, kLog ? g - exponential(y) * sum : y * (g - sum));
    }
  }
}

// `kLogits`: the outputs still need the log-softmax.
template <bool kLogits>
void loss(LossArguments& args) {
  const float even = args.smoothing / static_cast<float>(args.classes), own = 1.0f - args.smoothing;
  for (int part = 0; part < kParts; ++part) {
    const float* x = args.outputs + part * kWidth;
    const vi label = load(args.labels + part * kWidth), present = label >= 0;
    vf maximum{}, log_sum{}, reciprocal{};
    if constexpr (kLogits) {
      const Normaliser n(x, args.classes, args.class_step);
      maximum = n.maximum, log_sum = logarithm(n.sum), reciprocal = 1.0f / n.sum;
    }
    vf chosen{}, total{}, best = load(x);
    vi best_class{};
    for (int c = 0; c < args.classes; ++c) {
      const vf raw = load(x + c * args.class_step);
      const vf log_probability = kLogits ? (raw - maximum) - log_sum : raw;
      const vi mine = label == c, better = raw > best;
      chosen = select(mine, log_probability, chosen);
      total += log_probability;
      best = select(better, raw, best);
      best_class = better ? splat(c) : best_class;
      if (!args.gradient) continue;
      const vf target = select(mine, splat(own + even), splat(even));
      const vf probability = kLogits ? exponential(raw - maximum) * reciprocal : vf{};
      store(args.gradient + c * args.gradient_step + part * kWidth,
            select(present, (probability - target) * args.scale, vf{}));
    }
    const vf each = -(chosen * own) - total * even;
    store(args.loss + part * kWidth, select(present, args.smoothing == 0.0f ? -chosen : each, vf{}));
    store(args.correct + part * kWidth, ((best_class == label) & present) & 1);
  }
}

inline void list_softmax(KernelTable& table) {
  table.softmax_forward = softmax_forward<false>;
  table.softmax_backward = softmax_backward<false>;
  table.log_softmax_forward = softmax_forward<true>;
  table.log_softmax_backward = softmax_backward<true>;
  table.cross_entropy = loss<true>;
  table.negative_log_likelihood = loss<false>;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
