#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Fused pointwise layers: batch norm or scale and shift, activation, dropout and 2x2 max pool in one pass. Only the
// input y and the output are in memory; the backward pass recomputes the rest. Called by ops/pointwise_op.
//
// kAffine, kAffineRelu, kAffineLeaky, kAffineSilu: a = y, z = a * scale + shift, v = activation(z)
// kReluAffine, kLeakyAffine:                       a = activation(y), z = a * scale + shift, v = z
//
// Then optional dropout, pool, dropout. For the gradient dz of z, the gradient of a through batch norm is
// scale * ((dz - gradient_mean) - projection * (a - mean)). Differences are computed first, as in PyTorch.
namespace mnistcnn::engine::lanes {
namespace {

template <PointwiseKind kKind>
struct PointwiseFunction {
  vf scale, shift, slope;

  static constexpr bool kActivationFirst = kKind == kReluAffine || kKind == kLeakyAffine;
  static constexpr bool kRelu = kKind == kAffineRelu || kKind == kReluAffine;
  static constexpr bool kReluLast = kKind == kAffineRelu;
  static constexpr bool kLinear = kKind == kAffine;
  static constexpr bool kIsSilu = kKind == kAffineSilu;

  LANES_INLINE PointwiseFunction(const PointwiseArguments& args, int channel)
      : scale(splat(args.scale[channel])), shift(splat(args.shift[channel])), slope(splat(args.slope)) {}

  LANES_INLINE vf activate(vf v) const {
    if constexpr (kLinear) return v;
    if constexpr (kIsSilu) return silu(v);
    if constexpr (kRelu) return larger(vf{}, v);
    return select(v > 0.0f, v, v * slope);
  }
  LANES_INLINE vf activate_backward(vf gradient, vf v) const {
    if constexpr (kLinear) return gradient;
    if constexpr (kIsSilu) return gradient * silu_derivative(v);
    if constexpr (kRelu) return select(v <= 0.0f, vf{}, gradient);
    return select(v > 0.0f, gradient, gradient * slope);
  }
  // a: the input of the affine step.
  LANES_INLINE vf affine_input(vf y) const { return kActivationFirst ? activate(y) : y; }
  LANES_INLINE vf affine(vf a) const { return multiply_add(a, scale, shift); }
  LANES_INLINE vf output(vf z) const { return kActivationFirst ? z : activate(z); }
  LANES_INLINE vf value(vf y) const { return output(affine(affine_input(y))); }
  // The gradient of z from that of v.
  LANES_INLINE vf z_gradient(vf gradient, vf z) const {
    return kActivationFirst ? gradient : activate_backward(gradient, z);
  }
};

// Maximum of four values; NaN if one of them is NaN. Unlike PyTorch and PoolOp, `window_backward` does not use it and
// gives no gradient to a NaN: this maximum takes 11 more instructions per register than `larger`, and a comparison that
// finds the first NaN 8 more, of about 50. Once a map contains NaN, the loss is NaN and the training stops.
LANES_INLINE vf largest(vf a, vf b, vf c, vf d) {
  const vi numbers = (a == a) & (b == b) & (c == c) & (d == d);
  return select(numbers, larger(larger(a, b), larger(c, d)), (a + b) + (c + d));
}

template <PointwiseKind kKind, PointwisePool kPool, PointwiseDropout kDropout>
void pointwise_forward(const PointwiseArguments& args) {
  const vf keep_scale = splat(args.keep_scale);
  const std::int64_t row = std::int64_t{args.columns} * kLanes;
  const int out_columns = args.out_columns;
  const int mask_columns = kDropout == kDropoutBeforePool ? args.columns : args.out_columns;
  for (int c = 0; c < args.channels; ++c) {
    const PointwiseFunction<kKind> function(args, c);
    const std::uint16_t* mask = kDropout == kNoDropout ? nullptr : args.mask + c * args.mask_plane;
    for (int h = 0; h < args.out_rows; ++h) {
      const float* y = args.y + c * args.y_plane + (kPool ? 2 * h : h) * row;
      float* out = args.out + c * args.out_plane + h * args.out_row;
      const std::uint16_t* bits = kDropout == kNoDropout
                                      ? nullptr
                                      : mask + (kPool && kDropout == kDropoutBeforePool ? 2 * h : h) * mask_columns;
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          const auto at = [&](int i, int j) __attribute__((always_inline)) {
            const int column = kPool ? 2 * w + j : w;
            vf v = function.value(load(y + i * row + column * kLanes + part * kWidth));
            if constexpr (kDropout == kDropoutBeforePool)
              v = drop(v, bits[i * mask_columns + column], part, keep_scale);
            return v;
          };
          vf v;
          if constexpr (kPool == kMaxPool)
            v = largest(at(0, 0), at(0, 1), at(1, 0), at(1, 1));
          else
            v = at(0, 0);
          if constexpr (kDropout == kDropoutAfterPool) v = drop(v, bits[w], part, keep_scale);
          store(out + part * kWidth, v);
        }
    }
  }
}

// Sums dz and dz * (a - mean) per channel and image, for batch norm's backward. Each row is summed separately first: if
// the gradient is equal at all positions, as before a global average pool, one long sum rounds in the same
// direction hundreds of times.
struct SumSink {
  static constexpr bool kNeedsEveryPosition = false;  // positions without a gradient add nothing to the sums
  float *sum, *sum_of_products;
  vf mean, total[kParts] = {}, products[kParts] = {}, row_total[kParts] = {}, row_products[kParts] = {};

  LANES_INLINE SumSink(const PointwiseArguments& args, int channel)
      : sum(args.sum + channel * kLanes),
        sum_of_products(args.sum_of_products + channel * kLanes),
        mean(splat(args.mean[channel])) {}
  template <class Pointwise>
  LANES_INLINE void consume(const Pointwise&, int, int, int part, vf dz, vf, vf a) {
    row_total[part] += dz;
    row_products[part] = multiply_add(dz, a - mean, row_products[part]);
  }
  LANES_INLINE void end_row() {
    for (int part = 0; part < kParts; ++part) {
      total[part] += row_total[part];
      products[part] += row_products[part];
      row_total[part] = row_products[part] = vf{};
    }
  }
  LANES_INLINE void finish() {
    for (int part = 0; part < kParts; ++part) {
      store(sum + part * kWidth, total[part]);
      store(sum_of_products + part * kWidth, products[part]);
    }
  }
};

// Writes the gradient of y.
struct GradientSink {
  static constexpr bool kNeedsEveryPosition = true;
  float* out;
  std::int64_t row;
  vf scale, gradient_mean, projection, mean;

  LANES_INLINE GradientSink(const PointwiseArguments& args, int channel)
      : out(args.y_gradient + channel * args.y_gradient_plane),
        row(args.y_gradient_row),
        scale(splat(args.scale[channel])),
        gradient_mean(splat(args.gradient_mean[channel])),
        projection(splat(-args.projection[channel])),
        mean(splat(args.mean[channel])) {}
  template <class Pointwise>
  LANES_INLINE void consume(const Pointwise& function, int h, int w, int part, vf dz, vf y, vf a) {
    const vf da = scale * multiply_add(projection, a - mean, dz - gradient_mean);
    store(out + h * row + w * kLanes + part * kWidth,
          Pointwise::kActivationFirst ? function.activate_backward(da, y) : da);
  }
  LANES_INLINE void end_row() {}
  LANES_INLINE void finish() {}
};

// A 2 x 2 window: pointers to its first position and mask, and their row strides.
struct Window {
  const float* y;
  std::int64_t row;
  const std::uint16_t* bits;
  int mask_columns;
  int h, w;  // of the first position in the map
};

// Backward pass of a window: the first position with the largest value receives the gradient, as in PyTorch.
template <PointwiseKind kKind, PointwiseDropout kDropout, class Sink>
LANES_INLINE void window_backward(const PointwiseFunction<kKind>& function, const Window& window, int part, vf gradient,
                                  vf keep_scale, Sink& sink) {
  constexpr bool kReluLast = PointwiseFunction<kKind>::kReluLast;
  vf value[4], a[4], z[4], v[4];
  const auto dropped = [&](vf x, int i) __attribute__((always_inline)) {
    return kDropout == kDropoutBeforePool ? drop(x, window.bits[i / 2 * window.mask_columns + i % 2], part, keep_scale)
                                          : x;
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    value[i] = load(window.y + i / 2 * window.row + i % 2 * kLanes + part * kWidth);
    a[i] = function.affine_input(value[i]);
    z[i] = function.affine(a[i]);
    v[i] = dropped(function.output(z[i]), i);
  }
  const vf maximum = larger(larger(v[0], v[1]), larger(v[2], v[3]));
  if constexpr (kReluLast) {
    // If the maximum is positive, ReLU and dropout pass the gradient to it; otherwise no position receives any.
    if constexpr (kDropout == kDropoutBeforePool) gradient = gradient * keep_scale;
    gradient = select(maximum > 0.0f, gradient, vf{});
  }
  if constexpr (kReluLast && !Sink::kNeedsEveryPosition) {
    const vf last = select(v[2] == maximum, a[2], a[3]);
    const vf a_of_maximum = select(v[0] == maximum, a[0], select(v[1] == maximum, a[1], last));
    return sink.consume(function, window.h, window.w, part, gradient, a_of_maximum, a_of_maximum);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const vi first = v[i] == maximum;
    vf own_gradient = select(first, gradient, vf{});
    gradient = select(first, vf{}, gradient);
    if constexpr (!kReluLast) own_gradient = function.z_gradient(dropped(own_gradient, i), z[i]);
    sink.consume(function, window.h + i / 2, window.w + i % 2, part, own_gradient, value[i], a[i]);
  }
}

// Rows and columns that no window covers: their gradient dz is zero.
template <PointwiseKind kKind, class Sink>
LANES_INLINE void uncovered_backward(const PointwiseArguments& args, const PointwiseFunction<kKind>& function,
                                     const float* plane, Sink& sink) {
  const std::int64_t row = std::int64_t{args.columns} * kLanes;
  for (int h = 0; h < args.rows; ++h)
    for (int w = h < 2 * args.out_rows ? 2 * args.out_columns : 0; w < args.columns; ++w)
      for (int part = 0; part < kParts; ++part) {
        const vf value = load(plane + h * row + w * kLanes + part * kWidth);
        sink.consume(function, h, w, part, vf{}, value, function.affine_input(value));
      }
}

// Backward pass of one position without a pool. gradient: of the output, after dropout.
template <PointwiseKind kKind, bool kReplacesGradient, class Sink>
LANES_INLINE void position_backward(const PointwiseFunction<kKind>& function, vf value, vf gradient, float* out, int h,
                                    int w, int part, Sink& sink) {
  const vf a = function.affine_input(value), dz = function.z_gradient(gradient, function.affine(a));
  if constexpr (kReplacesGradient) store(out + part * kWidth, dz);
  sink.consume(function, h, w, part, dz, value, a);
}

template <PointwiseKind kKind, PointwisePool kPool, PointwiseDropout kDropout, class Sink>
LANES_INLINE void backward_pass(const PointwiseArguments& args) {
  constexpr bool kReplacesGradient = !Sink::kNeedsEveryPosition && sums_replace_gradient(kKind, kPool, kDropout);
  const vf keep_scale = splat(args.keep_scale);
  const std::int64_t row = std::int64_t{args.columns} * kLanes;
  const int out_columns = args.out_columns;
  const int mask_columns = kDropout == kDropoutBeforePool ? args.columns : args.out_columns;
  for (int c = 0; c < args.channels; ++c) {
    const PointwiseFunction<kKind> function(args, c);
    Sink sink(args, c);
    const float* plane = args.y + c * args.y_plane;
    const std::uint16_t* mask = kDropout == kNoDropout ? nullptr : args.mask + c * args.mask_plane;
    for (int h = 0; h < args.out_rows; ++h) {
      const float* y = plane + (kPool ? 2 * h : h) * row;
      float* out = args.out + c * args.out_plane + h * args.out_row;
      const std::uint16_t* bits = kDropout == kNoDropout
                                      ? nullptr
                                      : mask + (kPool && kDropout == kDropoutBeforePool ? 2 * h : h) * mask_columns;
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          vf gradient = load(out + part * kWidth);
          if constexpr (kDropout == kDropoutAfterPool) gradient = drop(gradient, bits[w], part, keep_scale);
          if constexpr (kPool == kMaxPool) {
            const std::uint16_t* const of_window = kDropout == kDropoutBeforePool ? bits + 2 * w : nullptr;
            window_backward<kKind, kDropout>(function, {y + 2 * w * kLanes, row, of_window, mask_columns, 2 * h, 2 * w},
                                             part, gradient, keep_scale, sink);
          } else {
            const vf value = load(y + w * kLanes + part * kWidth);
            if constexpr (kDropout == kDropoutBeforePool) gradient = drop(gradient, bits[w], part, keep_scale);
            position_backward<kKind, kReplacesGradient>(function, value, gradient, out, h, w, part, sink);
          }
        }
      sink.end_row();
    }
    if constexpr (kPool == kMaxPool && Sink::kNeedsEveryPosition)
      uncovered_backward<kKind>(args, function, plane, sink);
    sink.finish();
  }
}

template <PointwiseKind kKind, PointwisePool kPool, PointwiseDropout kDropout>
void pointwise_sums(const PointwiseArguments& args) {
  backward_pass<kKind, kPool, kDropout, SumSink>(args);
}

template <PointwiseKind kKind, PointwisePool kPool, PointwiseDropout kDropout>
void pointwise_backward(const PointwiseArguments& args) {
  backward_pass<kKind, kPool, kDropout, GradientSink>(args);
}

template <PointwiseKind kKind, PointwisePool kPool, PointwiseDropout kDropout>
void fill_pointwise_kernels(KernelTable& table) {
  table.pointwise_forward[kKind][kPool][kDropout] = pointwise_forward<kKind, kPool, kDropout>;
  table.pointwise_sums[kKind][kPool][kDropout] = pointwise_sums<kKind, kPool, kDropout>;
  table.pointwise_backward[kKind][kPool][kDropout] = pointwise_backward<kKind, kPool, kDropout>;
}

template <PointwiseKind kKind>
void fill_pointwise_kind(KernelTable& table) {
  fill_pointwise_kernels<kKind, kNoPool, kNoDropout>(table);
  fill_pointwise_kernels<kKind, kNoPool, kDropoutBeforePool>(table);
  fill_pointwise_kernels<kKind, kMaxPool, kNoDropout>(table);
  fill_pointwise_kernels<kKind, kMaxPool, kDropoutBeforePool>(table);
  fill_pointwise_kernels<kKind, kMaxPool, kDropoutAfterPool>(table);
}

inline void fill_pointwise(KernelTable& table) {
  fill_pointwise_kind<kAffine>(table);
  fill_pointwise_kind<kAffineRelu>(table);
  fill_pointwise_kind<kAffineLeaky>(table);
  fill_pointwise_kind<kAffineSilu>(table);
  fill_pointwise_kind<kReluAffine>(table);
  fill_pointwise_kind<kLeakyAffine>(table);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
