#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Pointwise layers between two convolutions, fused: normalisation, activation, dropout and a 2x2 maximum in one pass.
// Nothing between y and the output is kept; backward computes it again.
//
// kAffine...: a = y, z = a * scale + shift, v = activation(z).   kReluAffine...: a = activation(y), v = a * scale +
// shift. Then v is dropped or not, pooled or not, dropped or not. Batch norm's gradient of a, for the gradient dz of
// the affine step's result, is scale * ((dz - gradient_mean) - projection * (a - mean)): small differences first, as
// PyTorch does.
namespace mnistcnn::engine::lanes {
namespace {

template <ChainKind kKind>
struct Pointwise {
  vf scale, shift, slope;

  static constexpr bool kActivationFirst = kKind == kReluAffine || kKind == kLeakyAffine;
  static constexpr bool kRelu = kKind == kAffineRelu || kKind == kReluAffine;
  static constexpr bool kReluLast = kKind == kAffineRelu;
  static constexpr bool kLinear = kKind == kAffine;

  LANES_INLINE Pointwise(const ChainTile& t, int channel)
      : scale(splat(t.scale[channel])), shift(splat(t.shift[channel])), slope(splat(t.slope)) {}

  LANES_INLINE vf activate(vf v) const {
    if constexpr (kLinear) return v;
    if constexpr (kRelu) return larger(vf{}, v);
    return select(v > 0.0f, v, v * slope);
  }
  LANES_INLINE vf activate_back(vf gradient, vf v) const {
    if constexpr (kLinear) return gradient;
    if constexpr (kRelu) return select(v <= 0.0f, vf{}, gradient);
    return select(v > 0.0f, gradient, gradient * slope);
  }
  // What the affine step takes.
  LANES_INLINE vf before(vf y) const { return kActivationFirst ? activate(y) : y; }
  LANES_INLINE vf affine(vf a) const { return multiply_add(a, scale, shift); }
  LANES_INLINE vf after(vf z) const { return kActivationFirst ? z : activate(z); }
  LANES_INLINE vf value(vf y) const { return after(affine(before(y))); }
  // The gradient of the affine step's result, from that of the value.
  LANES_INLINE vf after_back(vf gradient, vf z) const {
    return kActivationFirst ? gradient : activate_back(gradient, z);
  }
};

// The largest of four; not a number when one of them isn't.
LANES_INLINE vf largest(vf a, vf b, vf c, vf d) {
  const vi numbers = (a == a) & (b == b) & (c == c) & (d == d);
  return select(numbers, larger(larger(a, b), larger(c, d)), (a + b) + (c + d));
}

template <ChainKind kKind, ChainPool kPool, ChainDrop kDrop>
void chain_forward(const ChainTile& t) {
  const vf keep_scale = splat(t.keep_scale);
  const std::int64_t row = std::int64_t{t.columns} * kLanes;
  const int out_columns = t.out_columns;
  const int mask_columns = kDrop == kDropBeforePool ? t.columns : t.out_columns;
  const int mask_plane = kDrop == kDropBeforePool ? t.rows * t.columns : t.out_rows * t.out_columns;
  for (int c = 0; c < t.channels; ++c) {
    const Pointwise<kKind> point(t, c);
    const std::uint16_t* mask = kDrop == kNoDrop ? nullptr : t.mask + c * mask_plane;
    for (int h = 0; h < t.out_rows; ++h) {
      const float* y = t.y + c * t.y_plane + (kPool ? 2 * h : h) * row;
      float* out = t.out + c * t.out_plane + h * t.out_row;
      const std::uint16_t* bits =
          kDrop == kNoDrop ? nullptr : mask + (kPool && kDrop == kDropBeforePool ? 2 * h : h) * mask_columns;
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          const auto at = [&](int i, int j) __attribute__((always_inline)) {
            const int column = kPool ? 2 * w + j : w;
            vf v = point.value(load(y + i * row + column * kLanes + part * kWidth));
            if constexpr (kDrop == kDropBeforePool) v = drop(v, bits[i * mask_columns + column], part, keep_scale);
            return v;
          };
          vf v;
          if constexpr (kPool == kMaxPool)
            v = largest(at(0, 0), at(0, 1), at(1, 0), at(1, 1));
          else
            v = at(0, 0);
          if constexpr (kDrop == kDropAfterPool) v = drop(v, bits[w], part, keep_scale);
          store(out + part * kWidth, v);
        }
    }
  }
}

// Batch norm's two sums over dz and dz * (a - mean), per channel and image. Rows are summed for themselves first: a
// gradient that is the same everywhere, as behind a global average, would be rounded the same way hundreds of times.
struct SumSink {
  static constexpr bool kRest = false;  // positions without a gradient add nothing
  float *sum, *sum_of_products;
  vf mean, total[kParts] = {}, products[kParts] = {}, row_total[kParts] = {}, row_products[kParts] = {};

  LANES_INLINE SumSink(const ChainTile& t, int channel)
      : sum(t.sum + channel * kLanes),
        sum_of_products(t.sum_of_products + channel * kLanes),
        mean(splat(t.mean[channel])) {}
  template <class Point>
  LANES_INLINE void take(const Point&, int, int, int part, vf dz, vf, vf a) {
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
  static constexpr bool kRest = true;
  float* out;
  std::int64_t row;
  vf scale, gradient_mean, projection, mean;

  LANES_INLINE GradientSink(const ChainTile& t, int channel)
      : out(t.y_gradient + channel * t.y_gradient_plane),
        row(t.y_gradient_row),
        scale(splat(t.scale[channel])),
        gradient_mean(splat(t.gradient_mean[channel])),
        projection(splat(-t.projection[channel])),
        mean(splat(t.mean[channel])) {}
  template <class Point>
  LANES_INLINE void take(const Point& point, int h, int w, int part, vf dz, vf y, vf a) {
    const vf da = scale * multiply_add(projection, a - mean, dz - gradient_mean);
    store(out + h * row + w * kLanes + part * kWidth, Point::kActivationFirst ? point.activate_back(da, y) : da);
  }
  LANES_INLINE void end_row() {}
  LANES_INLINE void finish() {}
};

// Where a window of 2 x 2 lies: its first position and mask, how far apart the rows of both are.
struct Window {
  const float* y;
  std::int64_t row;
  const std::uint16_t* bits;
  int mask_columns;
  int h, w;  // its first position in the map
};

// What the maximum of a window makes of its gradient. The first of the largest takes it.
template <ChainKind kKind, ChainDrop kDrop, class Sink>
LANES_INLINE void window_back(const Pointwise<kKind>& point, const Window& window, int part, vf gradient, vf keep_scale,
                              Sink& sink) {
  constexpr bool kReluLast = Pointwise<kKind>::kReluLast;
  vf value[4], a[4], z[4], v[4];
  const auto dropped = [&](vf x, int i) __attribute__((always_inline)) {
    return kDrop == kDropBeforePool ? drop(x, window.bits[i / 2 * window.mask_columns + i % 2], part, keep_scale) : x;
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    value[i] = load(window.y + i / 2 * window.row + i % 2 * kLanes + part * kWidth);
    a[i] = point.before(value[i]);
    z[i] = point.affine(a[i]);
    v[i] = dropped(point.after(z[i]), i);
  }
  const vf most = larger(larger(v[0], v[1]), larger(v[2], v[3]));
  if constexpr (kReluLast) {
    // Where the largest is above zero, its activation and dropout let the gradient through; else none does.
    if constexpr (kDrop == kDropBeforePool) gradient = gradient * keep_scale;
    gradient = select(most > 0.0f, gradient, vf{});
  }
  if constexpr (kReluLast && !Sink::kRest) {
    const vf last = select(v[2] == most, a[2], a[3]);
    const vf taken = select(v[0] == most, a[0], select(v[1] == most, a[1], last));
    return sink.take(point, window.h, window.w, part, gradient, taken, taken);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const vi first = v[i] == most;
    vf mine = select(first, gradient, vf{});
    gradient = select(first, vf{}, gradient);
    if constexpr (!kReluLast) mine = point.after_back(dropped(mine, i), z[i]);
    sink.take(point, window.h + i / 2, window.w + i % 2, part, mine, value[i], a[i]);
  }
}

// Rows and columns that no window covers.
template <ChainKind kKind, class Sink>
LANES_INLINE void uncovered_back(const ChainTile& t, const Pointwise<kKind>& point, const float* plane, Sink& sink) {
  const std::int64_t row = std::int64_t{t.columns} * kLanes;
  for (int h = 0; h < t.rows; ++h)
    for (int w = h < 2 * t.out_rows ? 2 * t.out_columns : 0; w < t.columns; ++w)
      for (int part = 0; part < kParts; ++part) {
        const vf value = load(plane + h * row + w * kLanes + part * kWidth);
        sink.take(point, h, w, part, vf{}, value, point.before(value));
      }
}

template <ChainKind kKind, ChainPool kPool, ChainDrop kDrop, class Sink>
LANES_INLINE void chain_back(const ChainTile& t) {
  const vf keep_scale = splat(t.keep_scale);
  const std::int64_t row = std::int64_t{t.columns} * kLanes;
  const int out_columns = t.out_columns;
  const int mask_columns = kDrop == kDropBeforePool ? t.columns : t.out_columns;
  const int mask_plane = kDrop == kDropBeforePool ? t.rows * t.columns : t.out_rows * t.out_columns;
  for (int c = 0; c < t.channels; ++c) {
    const Pointwise<kKind> point(t, c);
    Sink sink(t, c);
    const float* plane = t.y + c * t.y_plane;
    const std::uint16_t* mask = kDrop == kNoDrop ? nullptr : t.mask + c * mask_plane;
    for (int h = 0; h < t.out_rows; ++h) {
      const float* y = plane + (kPool ? 2 * h : h) * row;
      const float* out = t.out + c * t.out_plane + h * t.out_row;
      const std::uint16_t* bits =
          kDrop == kNoDrop ? nullptr : mask + (kPool && kDrop == kDropBeforePool ? 2 * h : h) * mask_columns;
      for (int w = 0; w < out_columns; ++w, out += kLanes)
        for (int part = 0; part < kParts; ++part) {
          vf gradient = load(out + part * kWidth);
          if constexpr (kDrop == kDropAfterPool) gradient = drop(gradient, bits[w], part, keep_scale);
          if constexpr (kPool == kMaxPool) {
            const std::uint16_t* const of_window = kDrop == kDropBeforePool ? bits + 2 * w : nullptr;
            window_back<kKind, kDrop>(point, {y + 2 * w * kLanes, row, of_window, mask_columns, 2 * h, 2 * w}, part,
                                      gradient, keep_scale, sink);
          } else {
            const vf value = load(y + w * kLanes + part * kWidth), a = point.before(value);
            if constexpr (kDrop == kDropBeforePool) gradient = drop(gradient, bits[w], part, keep_scale);
            sink.take(point, h, w, part, point.after_back(gradient, point.affine(a)), value, a);
          }
        }
      sink.end_row();
    }
    if constexpr (kPool == kMaxPool && Sink::kRest) uncovered_back<kKind>(t, point, plane, sink);
    sink.finish();
  }
}

template <ChainKind kKind, ChainPool kPool, ChainDrop kDrop>
void chain_sums(const ChainTile& t) {
  chain_back<kKind, kPool, kDrop, SumSink>(t);
}

template <ChainKind kKind, ChainPool kPool, ChainDrop kDrop>
void chain_backward(const ChainTile& t) {
  chain_back<kKind, kPool, kDrop, GradientSink>(t);
}

template <ChainKind kKind, ChainPool kPool, ChainDrop kDrop>
void list_chain(KernelTable& table) {
  table.chain_forward[kKind][kPool][kDrop] = chain_forward<kKind, kPool, kDrop>;
  table.chain_sums[kKind][kPool][kDrop] = chain_sums<kKind, kPool, kDrop>;
  table.chain_backward[kKind][kPool][kDrop] = chain_backward<kKind, kPool, kDrop>;
}

template <ChainKind kKind>
void list_chains_of_kind(KernelTable& table) {
  list_chain<kKind, kNoPool, kNoDrop>(table);
  list_chain<kKind, kNoPool, kDropBeforePool>(table);
  list_chain<kKind, kMaxPool, kNoDrop>(table);
  list_chain<kKind, kMaxPool, kDropBeforePool>(table);
  list_chain<kKind, kMaxPool, kDropAfterPool>(table);
}

inline void list_chains(KernelTable& table) {
  list_chains_of_kind<kAffine>(table);
  list_chains_of_kind<kAffineRelu>(table);
  list_chains_of_kind<kAffineLeaky>(table);
  list_chains_of_kind<kReluAffine>(table);
  list_chains_of_kind<kLeakyAffine>(table);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
