#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Softmax over the classes (or channels) of each image, and the two losses with their gradients.
namespace mnistcnn::engine::lanes {
namespace {

struct Normaliser {
  vf most, sum;  // the largest, and the sum of e^(x - most)

  LANES_INLINE Normaliser(const float* x, int classes, std::int64_t step) {
    most = load(x);
    for (int c = 1; c < classes; ++c) most = larger(load(x + c * step), most);
    sum = vf{};
    for (int c = 0; c < classes;) {  // in two levels: many classes add up without losing digits
      vf some{};
      for (const int end = classes - c < 16 ? classes : c + 16; c < end; ++c)
        some += exponential(load(x + c * step) - most);
      sum += some;
    }
  }
};

template <bool kLog>
void softmax_forward(const SoftmaxTile& t) {
  for (std::int64_t i = 0; i < std::int64_t{t.positions} * kLanes; i += kWidth) {
    const float* x = t.x + i;
    const Normaliser n(x, t.classes, t.class_step);
    const vf log_sum = kLog ? logarithm(n.sum) : vf{};
    for (int c = 0; c < t.classes; ++c) {
      const vf centred = load(x + c * t.class_step) - n.most;
      store(t.out + i + c * t.class_step, kLog ? centred - log_sum : exponential(centred) / n.sum);
    }
  }
}

template <bool kLog>
void softmax_backward(const SoftmaxTile& t) {
  for (std::int64_t i = 0; i < std::int64_t{t.positions} * kLanes; i += kWidth) {
    vf sum{};
    for (int c = 0; c < t.classes; ++c) {
      const vf g = load(t.gradient + i + c * t.class_step);
      sum = kLog ? sum + g : multiply_add(g, load(t.x + i + c * t.class_step), sum);
    }
    for (int c = 0; c < t.classes; ++c) {
      const std::int64_t at = i + c * t.class_step;
      const vf g = load(t.gradient + at), y = load(t.x + at);
      store(t.out + at, kLog ? g - exponential(y) * sum : y * (g - sum));
    }
  }
}

// `kLogits`: the outputs still need the log-softmax.
template <bool kLogits>
void loss(LossTile& t) {
  const float even = t.smoothing / static_cast<float>(t.classes), own = 1.0f - t.smoothing;
  for (int part = 0; part < kParts; ++part) {
    const float* x = t.outputs + part * kWidth;
    const vi label = load(t.labels + part * kWidth), present = label >= 0;
    vf most{}, log_sum{}, reciprocal{};
    if constexpr (kLogits) {
      const Normaliser n(x, t.classes, t.class_step);
      most = n.most, log_sum = logarithm(n.sum), reciprocal = 1.0f / n.sum;
    }
    vf chosen{}, total{}, best = load(x);
    vi best_class{};
    for (int c = 0; c < t.classes; ++c) {
      const vf raw = load(x + c * t.class_step);
      const vf log_probability = kLogits ? (raw - most) - log_sum : raw;
      const vi mine = label == c, better = raw > best;
      chosen = select(mine, log_probability, chosen);
      total += log_probability;
      best = select(better, raw, best);
      best_class = better ? splat(c) : best_class;
      if (!t.gradient) continue;
      const vf target = select(mine, splat(own + even), splat(even));
      const vf probability = kLogits ? exponential(raw - most) * reciprocal : vf{};
      store(t.gradient + c * t.gradient_step + part * kWidth, select(present, (probability - target) * t.scale, vf{}));
    }
    const vf each = -(chosen * own) - total * even;
    store(t.loss + part * kWidth, select(present, t.smoothing == 0.0f ? -chosen : each, vf{}));
    store(t.correct + part * kWidth, ((best_class == label) & present) & 1);
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
