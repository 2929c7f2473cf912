#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Softmax and log-softmax over the classes of each image, and the losses with their gradients. Called by
// ops/reduction_ops and execution/batch_io.
namespace mnistcnn::engine::lanes {
namespace {

struct SoftmaxSums {
  vf maximum, sum;  // of x, of e^(x - maximum)

  LANES_INLINE SoftmaxSums(const float* x, int classes, std::int64_t step) {
    maximum = load(x);
    for (int c = 1; c < classes; ++c) maximum = larger(load(x + c * step), maximum);
    sum = vf{};
    for (int c = 0; c < classes;) {  // in chunks of 16, so that long sums lose fewer digits
      vf partial{};
      for (const int end = classes - c < 16 ? classes : c + 16; c < end; ++c)
        partial += exponential(load(x + c * step) - maximum);
      sum += partial;
    }
  }
};

template <bool kLog>
void softmax_forward(const SoftmaxArguments& args) {
  for (std::int64_t i = 0; i < std::int64_t{args.positions} * kLanes; i += kWidth) {
    const float* x = args.x + i;
    const SoftmaxSums n(x, args.classes, args.class_step);
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

// Loss with label smoothing, and its gradient. kLogits: cross-entropy of logits; otherwise the negative log-likelihood
// of log-probabilities.
template <bool kLogits>
void loss(LossArguments& args) {
  const float uniform_weight = args.smoothing / static_cast<float>(args.classes), label_weight = 1.0f - args.smoothing;
  for (int part = 0; part < kParts; ++part) {
    const float* x = args.outputs + part * kWidth;
    const vi label = load(args.labels + part * kWidth), has_image = label >= 0;
    vf maximum{}, log_sum{}, reciprocal{};
    if constexpr (kLogits) {
      const SoftmaxSums n(x, args.classes, args.class_step);
      maximum = n.maximum, log_sum = logarithm(n.sum), reciprocal = 1.0f / n.sum;
    }
    vf label_log_probability{}, sum{}, best = load(x);
    vi best_class{};
    for (int c = 0; c < args.classes; ++c) {
      const vf raw = load(x + c * args.class_step);
      const vf log_probability = kLogits ? (raw - maximum) - log_sum : raw;
      const vi is_label = label == c, better = raw > best;
      label_log_probability = select(is_label, log_probability, label_log_probability);
      sum += log_probability;
      best = select(better, raw, best);
      best_class = better ? splat(c) : best_class;
      if (!args.gradient) continue;
      const vf target = select(is_label, splat(label_weight + uniform_weight), splat(uniform_weight));
      const vf probability = kLogits ? exponential(raw - maximum) * reciprocal : vf{};
      store(args.gradient + c * args.gradient_step + part * kWidth,
            select(has_image, (probability - target) * args.scale, vf{}));
    }
    const vf smoothed_loss = -(label_log_probability * label_weight) - sum * uniform_weight;
    store(args.loss + part * kWidth,
          select(has_image, args.smoothing == 0.0f ? -label_log_probability : smoothed_loss, vf{}));
    store(args.correct + part * kWidth, ((best_class == label) & has_image) & 1);
  }
}

inline void fill_softmax(KernelTable& table) {
  table.softmax_forward = softmax_forward<false>;
  table.softmax_backward = softmax_backward<false>;
  table.log_softmax_forward = softmax_forward<true>;
  table.log_softmax_backward = softmax_backward<true>;
  table.cross_entropy = loss<true>;
  table.negative_log_likelihood = loss<false>;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
