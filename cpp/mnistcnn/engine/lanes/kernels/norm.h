#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Group, layer and instance norm. Statistics are per image, so each lane has its own mean and variance. Called by
// ops/reduction_ops.
namespace mnistcnn::engine::lanes {
namespace {

LANES_INLINE vf reciprocal_root(vf variance, float eps) {
  vf result;
  for (int i = 0; i < kWidth; ++i) result[i] = 1.0f / __builtin_sqrtf(variance[i] + eps);
  return result;
}

// Sum term(i) in chunks of 16, so that long sums lose fewer digits.
template <class Term>
LANES_INLINE vf sum_of(std::int64_t count, Term term) {
  vf sum{};
  for (std::int64_t i = 0; i < count;) {
    vf partial{};
    for (const std::int64_t end = count - i < 16 ? count : i + 16; i < end; ++i) partial += term(i);
    sum += partial;
  }
  return sum;
}

// Mean and 1 / sqrt(variance + eps) of a group, in two passes: the mean, corrected by the mean of the deviations, then
// the squared deviations.
struct GroupMoments {
  vf mean, inverse;

  LANES_INLINE GroupMoments(const float* x, std::int64_t length, float eps) {
    const vf reciprocal = splat(1.0f / static_cast<float>(length));
    mean = sum_of(length, [&](std::int64_t i) { return load(x + i * kLanes); }) * reciprocal;
    const auto deviation = [&](std::int64_t i) { return load(x + i * kLanes) - mean; };
    const vf correction = sum_of(length, deviation) * reciprocal;
    const vf squares = sum_of(length, [&](std::int64_t i) { return deviation(i) * deviation(i); });
    inverse = reciprocal_root(multiply_add(-correction, correction, squares * reciprocal), eps);
    mean += correction;
  }
};

LANES_INLINE std::int64_t weight_of(const NormArguments& args, std::int64_t element) {
  return element / args.weight_divisor % args.weight_modulus;
}

inline void norm_forward(const NormArguments& args) {
  for (int g = 0; g < args.groups; ++g)
    for (int part = 0; part < kParts; ++part) {
      const std::int64_t first = g * args.length;
      const float* x = args.x + first * kLanes + part * kWidth;
      const GroupMoments moments(x, args.length, args.eps);
      for (std::int64_t i = 0; i < args.length; ++i) {
        const std::int64_t k = weight_of(args, first + i);
        vf v = (load(x + i * kLanes) - moments.mean) * moments.inverse;
        if (args.weight) v = multiply_add(v, splat(args.weight[k]), args.bias ? splat(args.bias[k]) : vf{});
        store(args.out + (first + i) * kLanes + part * kWidth, v);
      }
    }
}

inline void norm_backward(const NormArguments& args) {
  for (int g = 0; g < args.groups; ++g)
    for (int part = 0; part < kParts; ++part) {
      const std::int64_t first = g * args.length;
      const float* x = args.x + first * kLanes + part * kWidth;
      const float* gradient = args.gradient + first * kLanes + part * kWidth;
      const GroupMoments moments(x, args.length, args.eps);
      vf sum{}, products{};
      for (std::int64_t i = 0; i < args.length; ++i) {
        const std::int64_t k = weight_of(args, first + i), lane = k * kLanes + part * kWidth;
        const vf normal = (load(x + i * kLanes) - moments.mean) * moments.inverse, dv = load(gradient + i * kLanes);
        if (args.weight_sum) store(args.weight_sum + lane, multiply_add(dv, normal, load(args.weight_sum + lane)));
        if (args.bias_sum) store(args.bias_sum + lane, load(args.bias_sum + lane) + dv);
        const vf dn = args.weight ? dv * splat(args.weight[k]) : dv;
        sum += dn;
        products = multiply_add(dn, normal, products);
      }
      const vf reciprocal = splat(1.0f / static_cast<float>(args.length));
      const vf mean_gradient = sum * reciprocal, mean_product = products * reciprocal;
      for (std::int64_t i = 0; i < args.length; ++i) {
        const vf normal = (load(x + i * kLanes) - moments.mean) * moments.inverse;
        const vf dv = load(gradient + i * kLanes);
        const vf dn = args.weight ? dv * splat(args.weight[weight_of(args, first + i)]) : dv;
        const vf centred = multiply_add(-normal, mean_product, dn - mean_gradient);
        store(args.out + (first + i) * kLanes + part * kWidth, centred * moments.inverse);
      }
    }
}

inline void fill_norms(KernelTable& table) {
  table.norm_forward = norm_forward;
  table.norm_backward = norm_backward;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
