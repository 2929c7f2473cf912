#pragma once
#include "mnistcnn/engine/lanes/kernels/functions.h"

// Fused pointwise layers: batch norm or scale and shift, activation, dropout and 2x2 max pool in one pass. Only the
// input y, the output and the positions of the maxima are in memory; the backward pass recomputes the rest. Called by
// ops/pointwise_op.
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

// ---- 2x2 max pool

constexpr int kWindowPositions = 4;  // 2 rows x 2 columns
constexpr int kNoPosition = 4;       // instead of a position, if none receives the gradient

// The maximum of a window, and the position that receives its gradient.
struct WindowMaximum {
  vf value;
  vi position;
};

// As in PyTorch, the position is that of the last NaN, or else of the first of the largest values. kRelu: there is a
// ReLU before or after the pool, so no position receives a gradient if the maximum is not positive.
template <bool kRelu>
LANES_INLINE WindowMaximum maximum_of(const vf (&v)[kWindowPositions]) {
  constexpr std::uint32_t kAllLanes = (std::uint32_t{1} << kWidth) - 1;
  vf maximum = larger(larger(v[0], v[1]), larger(v[2], v[3]));
  vi position = splat(3);
  for (int i = 2; i >= 0; --i) position = v[i] == maximum ? splat(i) : position;
  if constexpr (kRelu) position = maximum > 0.0f ? position : splat(kNoPosition);
  const vf total = (v[0] + v[1]) + (v[2] + v[3]);
  // `larger` may lose a NaN. The sum is also NaN for infinities of both signs.
  if (bits_of(total == total) != kAllLanes) [[unlikely]]
    for (int i = 0; i < kWindowPositions; ++i) {
      const vi is_nan = v[i] != v[i];
      maximum = select(is_nan, v[i], maximum);
      position = is_nan ? splat(i) : position;
    }
  return {maximum, position};
}

// Return the value at a position. The result for kNoPosition is one of the values.
LANES_INLINE vf value_at(vi position, const vf (&v)[kWindowPositions]) {
  return select(position == 0, v[0], select(position == 1, v[1], select(position == 2, v[2], v[3])));
}

// Return the positions of one row of the output, or nullptr if no backward follows.
LANES_INLINE std::uint8_t* positions_of(const PointwiseArguments& args, int channel, int row) {
  return args.positions == nullptr ? nullptr
                                   : args.positions + channel * args.positions_plane + row * args.out_columns * kLanes;
}

// ---- forward

// What one row of the output reads and writes, except for the output. With a pool: the first of two rows.
struct ForwardRow {
  const float* y;
  std::int64_t row;           // stride of y
  const std::uint16_t* bits;  // masks of dropout
  int mask_columns;
  std::uint8_t* positions;
};

// Return the value at a position after dropout before the pool. i: row, 0 or 1.
template <PointwiseKind kKind, PointwiseDropout kDropout>
LANES_INLINE vf value_before_pool(const PointwiseFunction<kKind>& function, const ForwardRow& in, int i, int column,
                                  int part, vf keep_scale) {
  const vf v = function.value(load(in.y + i * in.row + column * kLanes + part * kWidth));
  return kDropout == kDropoutBeforePool ? drop(v, in.bits[i * in.mask_columns + column], part, keep_scale) : v;
}

// Return the maximum of window w. Store its position, unless no backward follows.
template <PointwiseKind kKind, PointwiseDropout kDropout>
LANES_INLINE vf pool_forward(const PointwiseFunction<kKind>& function, const ForwardRow& in, int w, int part,
                             vf keep_scale) {
  constexpr bool kRelu = PointwiseFunction<kKind>::kReluLast;
  const auto at = [&](int i) __attribute__((always_inline)) {
    return value_before_pool<kKind, kDropout>(function, in, i / 2, 2 * w + i % 2, part, keep_scale);
  };
  const vf of_window[] = {at(0), at(1), at(2), at(3)};
  auto [maximum, position] = maximum_of<kRelu>(of_window);
  if (in.positions == nullptr) return maximum;
  // A ReLU's output that is dropped is zero, so the position is kNoPosition already.
  if constexpr (kDropout == kDropoutBeforePool && !kRelu) {
    const auto kept = [&](int i) __attribute__((always_inline)) {
      return drop(splat(1.0f), in.bits[i / 2 * in.mask_columns + 2 * w + i % 2], part, splat(1.0f));
    };
    const vf is_kept[] = {kept(0), kept(1), kept(2), kept(3)};
    position = value_at(position, is_kept) > 0.0f ? position : splat(kNoPosition);
  }
  store_bytes(in.positions + w * kLanes + part * kWidth, position);
  return maximum;
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
      const ForwardRow in{y, row, bits, mask_columns, kPool == kMaxPool ? positions_of(args, c, h) : nullptr};
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          vf v;
          if constexpr (kPool == kMaxPool)
            v = pool_forward<kKind, kDropout>(function, in, w, part, keep_scale);
          else
            v = value_before_pool<kKind, kDropout>(function, in, 0, w, part, keep_scale);
          if constexpr (kDropout == kDropoutAfterPool) v = drop(v, bits[w], part, keep_scale);
          store(out + part * kWidth, v);
        }
    }
  }
}

// ---- backward

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

// A 2 x 2 window: pointers to its first position and to the positions of the maxima.
struct Window {
  const float* y;
  std::int64_t row;  // stride of y
  const std::uint8_t* positions;
  int h, w;  // of the first position in the map
};

// Backward pass of a window. gradient: of the output, after dropout. out: where dz is written if it replaces the
// gradient.
template <PointwiseKind kKind, bool kReplacesGradient, class Sink>
LANES_INLINE void window_backward(const PointwiseFunction<kKind>& function, const Window& window, int part, vf gradient,
                                  float* out, Sink& sink) {
  vf value[kWindowPositions];
#pragma GCC unroll 4
  for (int i = 0; i < kWindowPositions; ++i)
    value[i] = load(window.y + i / 2 * window.row + i % 2 * kLanes + part * kWidth);
  const vi position = load_bytes(window.positions + part * kWidth);
  const vf of_maximum = value_at(position, value), a = function.affine_input(of_maximum);
  gradient = select(position == kNoPosition, vf{}, gradient);
  // For a ReLU, kNoPosition says where the gradient is zero.
  const vf dz = function.kReluLast ? gradient : function.z_gradient(gradient, function.affine(a));
  if constexpr (kReplacesGradient) store(out + part * kWidth, dz);
  if constexpr (!Sink::kNeedsEveryPosition) return sink.consume(function, window.h, window.w, part, dz, of_maximum, a);
#pragma GCC unroll 4
  for (int i = 0; i < kWindowPositions; ++i)
    sink.consume(function, window.h + i / 2, window.w + i % 2, part, select(position == i, dz, vf{}), value[i],
                 function.affine_input(value[i]));
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
  constexpr bool kReplacesGradient = !Sink::kNeedsEveryPosition && sums_replace_gradient(kKind);
  const vf keep_scale = splat(args.keep_scale);
  const std::int64_t row = std::int64_t{args.columns} * kLanes;
  const int out_columns = args.out_columns;
  for (int c = 0; c < args.channels; ++c) {
    const PointwiseFunction<kKind> function(args, c);
    Sink sink(args, c);
    const float* plane = args.y + c * args.y_plane;
    const std::uint16_t* mask = kDropout == kNoDropout ? nullptr : args.mask + c * args.mask_plane;
    for (int h = 0; h < args.out_rows; ++h) {
      const float* y = plane + (kPool ? 2 * h : h) * row;
      float* out = args.out + c * args.out_plane + h * args.out_row;
      const std::uint8_t* const positions = kPool == kMaxPool ? positions_of(args, c, h) : nullptr;
      // Of the positions of the output. A pool with dropout before it reads no masks.
      const std::uint16_t* const bits = kDropout == kNoDropout ? nullptr : mask + h * args.out_columns;
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          vf gradient = load(out + part * kWidth);
          if constexpr (kDropout == kDropoutAfterPool) gradient = drop(gradient, bits[w], part, keep_scale);
          if constexpr (kPool == kMaxPool) {
            // The positions say where dropout before the pool sets the gradient to zero.
            if constexpr (kDropout == kDropoutBeforePool) gradient = gradient * keep_scale;
            const Window window{y + 2 * w * kLanes, row, positions + w * kLanes, 2 * h, 2 * w};
            window_backward<kKind, kReplacesGradient>(function, window, part, gradient, out, sink);
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

// Backward pass of an optional ReLU, a max pool and optional dropout after it: write the gradient of y, without reading
// y.
inline void gradient_at_positions(const PointwiseArguments& args) {
  const vf keep_scale = splat(args.keep_scale);
  const std::int64_t row = args.y_gradient_row;
  for (int c = 0; c < args.channels; ++c) {
    float* const plane = args.y_gradient + c * args.y_gradient_plane;
    for (int h = 0; h < args.out_rows; ++h) {
      const std::uint8_t* positions = positions_of(args, c, h);
      const float* out = args.out + c * args.out_plane + h * args.out_row;
      float* to = plane + 2 * h * row;
      for (int w = 0; w < args.out_columns; ++w, out += kLanes, to += 2 * kLanes, positions += kLanes)
        for (int part = 0; part < kParts; ++part) {
          vf gradient = load(out + part * kWidth);
          if (args.mask != nullptr)
            gradient = drop(gradient, args.mask[c * args.mask_plane + h * args.out_columns + w], part, keep_scale);
          const vi position = load_bytes(positions + part * kWidth);
#pragma GCC unroll 4
          for (int i = 0; i < kWindowPositions; ++i)
            store(to + i / 2 * row + i % 2 * kLanes + part * kWidth, select(position == i, gradient, vf{}));
        }
    }
    // Rows and columns that no window covers.
    for (int h = 0; h < args.rows; ++h)
      for (int w = h < 2 * args.out_rows ? 2 * args.out_columns : 0; w < args.columns; ++w)
        for (int part = 0; part < kParts; ++part) store(plane + h * row + w * kLanes + part * kWidth, vf{});
  }
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
  table.gradient_at_positions = gradient_at_positions;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
