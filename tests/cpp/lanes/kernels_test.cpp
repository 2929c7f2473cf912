#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "lanes/lanes_fixture.h"
#include "mnistcnn/common/random.h"
#include "mnistcnn/engine/lanes/gemm/gemm.h"

// Kernels other than convolutions, compared with slow references in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

TEST(Gemm, MatchesTheDirectSum) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < 40; ++seed) {
      Random random(seed);
      const int m = random.whole(1, 30), n = random.whole(1, 150), k = random.whole(1, 300), wide = (n + 15) / 16 * 16;
      const std::vector<float> a = random.numbers(at(m * k)), x = random.numbers(at(k * wide));
      std::vector<float> y = random.numbers(at(m * n));
      const std::vector<float> before = y;
      const bool accumulate = seed % 2 == 1;
      gemm(table, {m, n, k, a.data(), 1, m, x.data(), wide, y.data(), n, accumulate});
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          double sum = accumulate ? before[at(i * n + j)] : 0;
          for (int d = 0; d < k; ++d) sum += static_cast<double>(a[at(d * m + i)]) * x[at(d * wide + j)];
          ASSERT_NEAR(y[at(i * n + j)], sum, 1e-4) << "seed " << seed;
        }
    }
  });
}

// Packing and streaming do not change the results. Streaming needs aligned rows and one pass over k; it is ignored
// otherwise.
TEST(Gemm, OperandsInMemoryGiveTheSameBits) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < 20; ++seed) {
      Random random(seed);
      const int m = random.whole(1, 50), n = random.whole(1, 150), k = random.whole(1, seed % 2 == 0 ? 128 : 300),
                wide = (n + 15) / 16 * 16;
      const std::vector<float> a = random.numbers(at(m * k)), x = random.numbers(at(k * wide));
      const auto run = [&](int offset, int columns, bool in_memory) {
        std::vector<float> memory(at(m * wide + 32), -1.0f);
        const auto misaligned = static_cast<int>(reinterpret_cast<std::uintptr_t>(memory.data()) / sizeof(float) % 16);
        float* const y = memory.data() + (16 - misaligned) % 16 + offset;
        gemm(table, {m, columns, k, a.data(), 1, m, x.data(), wide, y, wide, false, in_memory, in_memory});
        std::vector<float> result(y, y + m * wide);
        if (offset > 0) result.resize(result.size() - at(offset));
        return result;
      };
      for (const int columns : {n, wide})
        for (const int offset : {0, 1}) ASSERT_EQ(run(offset, columns, true), run(offset, columns, false)) << seed;
    }
  });
}

TEST(WeightGradient, MatchesTheDirectSumForEveryTile) {
  for_each_instruction_set([](const KernelTable& table) {
    Random random(3);
    const int rows = 3, columns = 5, outputs = kMaxTileChannels, positions = rows * columns;
    const std::vector<float> d = random.numbers(at(outputs * positions * kLanes)),
                             x = random.numbers(at(kMaxTileTaps * positions * kLanes));
    std::array<std::int32_t, kMaxTileTaps> taps{};
    for (int k = 0; k < kMaxTileTaps; ++k) taps[at(k)] = k * positions * kLanes;
    for (int o = 1; o <= kMaxTileChannels; ++o)
      for (int k = 1; k <= kMaxTileTaps; ++k) {
        if (table.weight_gradient[o][k] == nullptr) continue;
        const auto run = [&](int rows_per_call) {
          std::vector<float> out(at(o * k), 1.0f), sums(at(kMaxTileSums * kLanes), std::nanf(""));
          for (int row = 0; row < rows; row += rows_per_call) {
            const int count = std::min(rows_per_call, rows - row), offset = row * columns * kLanes;
            table.weight_gradient[o][k]({d.data() + offset, positions * kLanes, columns * kLanes, x.data() + offset,
                                         taps.data(), columns * kLanes, kLanes, count, columns, row == 0,
                                         row + count == rows, sums.data(), out.data(), k, true});
          }
          return out;
        };
        const std::vector<float> out = run(rows);
        for (const int rows_per_call : {1, 2}) ASSERT_EQ(run(rows_per_call), out) << o << " x " << k;
        for (int i = 0; i < o * k; ++i) {
          double sum = 1;
          for (int p = 0; p < positions * kLanes; ++p)
            sum += static_cast<double>(d[at(i / k * positions * kLanes + p)]) * x[at(i % k * positions * kLanes + p)];
          ASSERT_NEAR(out[at(i)], sum, 1e-4) << o << " x " << k;
        }
      }
  });
}

// Reference for one channel of one image: the fused layers, computed one after another.
struct ReferencePointwise {
  int kind, pool, drop, rows, columns;
  double scale, shift, slope, keep_scale, gradient_mean, projection, mean;
  std::vector<double> y;
  std::vector<bool> kept;

  bool first() const { return kind == kReluAffine || kind == kLeakyAffine; }
  double activate(double v) const {
    if (kind == kAffineSilu) return v / (1 + std::exp(-v));
    return v * derivative(v);
  }
  double derivative(double v) const {
    if (kind == kAffine) return 1;
    if (kind == kAffineSilu) return (1 + v / (1 + std::exp(v))) / (1 + std::exp(-v));
    return v > 0 ? 1 : (kind == kAffineRelu || kind == kReluAffine ? 0 : slope);
  }
  double before(double v) const { return first() ? activate(v) : v; }
  double affine(double v) const { return before(v) * scale + shift; }
  double value(int i) const {
    const double z = affine(y[at(i)]), v = first() ? z : activate(z);
    return drop == kDropoutBeforePool ? (kept[at(i)] ? v * keep_scale : 0) : v;
  }
  int out_columns() const { return pool ? columns / 2 : columns; }
  int out_rows() const { return pool ? rows / 2 : rows; }
  int winner(int o) const {
    if (!pool) return o;
    const int corner = o / out_columns() * 2 * columns + o % out_columns() * 2;
    int best = corner;
    for (const int i : {corner + 1, corner + columns, corner + columns + 1})
      if (value(i) > value(best)) best = i;
    return best;
  }
  double out(int o) const {
    const double v = value(winner(o));
    return drop == kDropoutAfterPool ? (kept[at(o)] ? v * keep_scale : 0) : v;
  }
  // Return dz of each position.
  std::vector<double> affine_gradients(const std::vector<double>& out_gradient) const {
    std::vector<double> dz(y.size(), 0);
    for (int o = 0; o < out_rows() * out_columns(); ++o) {
      double g = out_gradient[at(o)];
      const int i = winner(o);
      if (drop != kNoDropout) g = kept[at(drop == kDropoutAfterPool ? o : i)] ? g * keep_scale : 0;
      dz[at(i)] = first() ? g : g * derivative(affine(y[at(i)]));
    }
    return dz;
  }
  double y_gradient(int i, double dz) const {
    const double da = scale * ((dz - gradient_mean) - projection * (before(y[at(i)]) - mean));
    return first() ? da * derivative(y[at(i)]) : da;
  }
};

void check_pointwise(const KernelTable& table, int kind, int pool, int drop) {
  Random random(static_cast<unsigned>(kind * 9 + pool * 3 + drop));
  const int channels = 2, rows = 5, columns = 7, positions = rows * columns;
  const int out_rows = pool ? rows / 2 : rows, out_columns = pool ? columns / 2 : columns,
            outs = out_rows * out_columns;
  const std::vector<float> y = random.numbers(at(channels * positions * kLanes)),
                           g = random.numbers(at(channels * outs * kLanes));
  const std::vector<float> scale = random.numbers(2, 0.5f, 2), shift = random.numbers(2), mean = random.numbers(2),
                           gradient_mean = random.numbers(2), projection = random.numbers(2);
  std::vector<std::uint16_t> mask(at(channels * positions));
  for (auto& each : mask) each = static_cast<std::uint16_t>(random.whole(0, 65535));
  std::vector<float> out(g.size()), y_gradient(y.size()), sum(at(channels * kLanes)), products(sum);
  PointwiseArguments args{};
  args.y = y.data(), args.y_plane = positions * kLanes, args.channels = channels, args.rows = rows,
  args.columns = columns;
  args.out_rows = out_rows, args.out_columns = out_columns, args.scale = scale.data(), args.shift = shift.data(),
  args.slope = 0.25f;
  args.mask = mask.data(), args.mask_plane = drop == kDropoutAfterPool ? outs : positions, args.keep_scale = 2,
  args.out = out.data(), args.out_plane = outs * kLanes, args.out_row = out_columns * kLanes;
  args.gradient_mean = gradient_mean.data(), args.projection = projection.data(), args.mean = mean.data();
  args.y_gradient = y_gradient.data(), args.y_gradient_plane = positions * kLanes,
  args.y_gradient_row = columns * kLanes;
  args.sum = sum.data(), args.sum_of_products = products.data();
  std::vector<std::uint8_t> maxima(g.size());
  args.positions = maxima.data(), args.positions_plane = outs * kLanes;
  table.pointwise_forward[kind][pool][drop](args);
  std::vector<float> gradient = g;
  args.out = gradient.data();
  table.pointwise_sums[kind][pool][drop](args);
  const bool has_dz = sums_replace_gradient(kind);
  table.pointwise_backward[has_dz ? kAffine : kind][pool][has_dz ? kNoDropout : drop](args);
  for (int c = 0; c < channels; ++c)
    for (int image = 0; image < kLanes; ++image) {
      ReferencePointwise reference{kind,
                                   pool,
                                   drop,
                                   rows,
                                   columns,
                                   scale[at(c)],
                                   shift[at(c)],
                                   0.25,
                                   2,
                                   gradient_mean[at(c)],
                                   projection[at(c)],
                                   mean[at(c)],
                                   {},
                                   {}};
      const int mask_plane = drop == kDropoutAfterPool ? outs : positions;
      for (int i = 0; i < positions; ++i) reference.y.push_back(y[at((c * positions + i) * kLanes + image)]);
      for (int i = 0; i < mask_plane; ++i) reference.kept.push_back((mask[at(c * mask_plane + i)] >> image & 1) != 0);
      std::vector<double> own;
      for (int o = 0; o < outs; ++o) {
        own.push_back(g[at((c * outs + o) * kLanes + image)]);
        ASSERT_NEAR(out[at((c * outs + o) * kLanes + image)], reference.out(o), 1e-5);
      }
      const std::vector<double> dz = reference.affine_gradients(own);
      double total = 0, total_products = 0;
      for (int i = 0; i < positions; ++i) {
        ASSERT_NEAR(y_gradient[at((c * positions + i) * kLanes + image)], reference.y_gradient(i, dz[at(i)]), 2e-5);
        total += dz[at(i)];
        total_products += dz[at(i)] * (reference.before(reference.y[at(i)]) - reference.mean);
      }
      ASSERT_NEAR(sum[at(c * kLanes + image)], total, 1e-4);
      ASSERT_NEAR(products[at(c * kLanes + image)], total_products, 1e-4);
    }
}

TEST(Pointwise, MatchesSeparateLayers) {
  for_each_instruction_set([](const KernelTable& table) {
    for (int kind = 0; kind < kPointwiseKinds; ++kind)
      for (int pool = 0; pool < kPointwisePools; ++pool)
        for (int drop = 0; drop < kPointwiseDropouts; ++drop) {
          if (table.pointwise_forward[kind][pool][drop] == nullptr) continue;
          SCOPED_TRACE(std::to_string(kind) + " " + std::to_string(pool) + " " + std::to_string(drop));
          check_pointwise(table, kind, pool, drop);
        }
  });
}

// Bit i of an image: whether position i of its window is NaN. The last NaN receives the gradient, as in PyTorch.
TEST(Pointwise, NanPropagatesThroughActivationsAndPools) {
  for_each_instruction_set([](const KernelTable& table) {
    std::vector<float> y(4 * kLanes, 1.0f), out(kLanes), without_positions(kLanes);
    for (int i = 0; i < 4; ++i)
      for (int image = 0; image < kLanes; ++image)
        if (image >> i & 1) y[at(i * kLanes + image)] = std::nanf("");
    const float one = 1, zero = 0;
    std::vector<std::uint8_t> positions(kLanes);
    PointwiseArguments args{};
    args.y = y.data(), args.y_plane = 4 * kLanes, args.channels = 1, args.rows = args.columns = 2,
    args.out_rows = args.out_columns = 1;
    args.scale = &one, args.shift = &zero, args.out = out.data(), args.out_plane = args.out_row = kLanes;
    args.positions = positions.data();
    table.pointwise_forward[kAffineRelu][kMaxPool][kNoDropout](args);
    args.positions = nullptr, args.out = without_positions.data();
    table.pointwise_forward[kAffineRelu][kMaxPool][kNoDropout](args);
    for (int image = 0; image < kLanes; ++image) {
      EXPECT_EQ(std::isnan(out[at(image)]), image > 0);
      EXPECT_EQ(std::isnan(without_positions[at(image)]), image > 0);
      EXPECT_EQ(positions[at(image)], image > 0 ? std::bit_width(static_cast<unsigned>(image)) - 1 : 0);
    }
  });
}

constexpr float kThreshold = 2;  // of softplus

double reference_activation(Activation kind, double x, double p) {
  switch (kind) {
    case kTanh:
      return std::tanh(x);
    case kSigmoid:
      return 1 / (1 + std::exp(-x));
    case kElu:
      return x > 0 ? x : p * std::expm1(x);
    case kRelu6:
      return std::min(std::max(x, 0.0), 6.0);
    case kHardswish:
      return x * std::min(std::max(x + 3, 0.0), 6.0) / 6;
    case kGelu:
      return x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    case kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case kPrelu:
      return x > 0 ? x : p * x;
    case kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case kSoftplus:
      return p * x > kThreshold ? x : std::log1p(std::exp(p * x)) / p;
    case kReciprocal:
      return 1 / x;
    case kActivations:
      break;
  }
  return 0;
}

double reference_derivative(Activation kind, double x, double p) {
  const double sigmoid = 1 / (1 + std::exp(-p * x));
  if (kind == kSoftplus) return p * x > kThreshold ? 1 : sigmoid;
  if (kind == kReciprocal) return -1 / (x * x);
  // mish: 1 - tanh^2 of log(1 + e^x), written without cancellation
  const double e = std::exp(-std::abs(x)), scale = x < 0 ? 1 : e * e;
  const double whole = x < 0 ? e * e + 2 * e + 2 : 1 + 2 * e + 2 * e * e, one_plus = x < 0 ? 1 + e : 1 / e + 1;
  const double slope = 4 * one_plus * one_plus * scale * scale / (whole * whole);
  return std::tanh(std::log1p(std::exp(x))) + x * slope / (1 + std::exp(-x));
}

TEST(Activations, MatchReferenceValuesAndDerivatives) {
  for_each_instruction_set([](const KernelTable& table) {
    std::vector<float> x;
    for (int i = -800; i < 800; ++i) x.push_back(static_cast<float>(i) * 0.0173f + 0.0031f);
    std::vector<float> value(x.size()), slope(x.size());
    const std::vector<float> ones(x.size(), 1.0f);
    const auto count = static_cast<std::int64_t>(x.size());
    for (int kind = 0; kind < kReciprocal; ++kind) {  // reciprocal: too steep for central differences
      const Activation activation = static_cast<Activation>(kind);
      table.activation_forward[kind]({x.data(), nullptr, value.data(), count, {0.3f, kThreshold}});
      table.activation_backward[kind]({x.data(), ones.data(), slope.data(), count, {0.3f, kThreshold}});
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double h = 1e-5, exact = reference_activation(activation, x[i], 0.3f);
        const double derivative =
            (reference_activation(activation, x[i] + h, 0.3f) - reference_activation(activation, x[i] - h, 0.3f)) /
            (2 * h);
        ASSERT_NEAR(value[i], exact, 4e-7 * std::abs(exact) + 2e-7) << kind << " at " << x[i];
        ASSERT_NEAR(slope[i], derivative, 4e-6) << kind << " at " << x[i];
      }
    }
  });
}

TEST(Activations, FusedSiluMatchesReferenceValuesAndDerivatives) {
  for_each_instruction_set([](const KernelTable& table) {
    std::vector<float> x;
    for (int i = -800; i < 800; ++i) x.push_back(static_cast<float>(i) * 0.0173f + 0.0031f);
    std::vector<float> value(x.size()), slope(x.size()), ones(x.size(), 1.0f);
    const float one = 1, zero = 0;
    PointwiseArguments args{};
    args.y = x.data(), args.channels = 1, args.rows = args.out_rows = 1;
    args.columns = args.out_columns = static_cast<int>(x.size()) / kLanes;
    args.scale = &one, args.shift = args.gradient_mean = args.projection = args.mean = &zero;
    args.out = value.data();
    table.pointwise_forward[kAffineSilu][kNoPool][kNoDropout](args);
    args.out = ones.data(), args.y_gradient = slope.data();
    table.pointwise_backward[kAffineSilu][kNoPool][kNoDropout](args);
    const auto silu = [](double v) { return v / (1 + std::exp(-v)); };
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double h = 1e-5, exact = silu(x[i]);
      ASSERT_NEAR(value[i], exact, 4e-7 * std::abs(exact) + 2e-7) << x[i];
      ASSERT_NEAR(slope[i], (silu(x[i] + h) - silu(x[i] - h)) / (2 * h), 4e-6) << x[i];
    }
  });
}

// Return the values of an activation, followed by its derivatives.
std::vector<float> values_and_derivatives(const KernelTable& table, Activation kind, const std::vector<float>& x,
                                          float p, float threshold = kThreshold) {
  const auto count = static_cast<std::int64_t>(x.size());
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> both(2 * x.size());
  table.activation_forward[kind]({x.data(), nullptr, both.data(), count, {p, threshold}});
  table.activation_backward[kind]({x.data(), ones.data(), both.data() + count, count, {p, threshold}});
  return both;
}

constexpr std::array<Activation, 3> kPreciseKinds{kMish, kSoftplus, kReciprocal};

TEST(Activations, MishSoftplusAndReciprocalAreAccurateToAFewUlp) {
  // One ulp is at most 1.2e-7 of a value. Softplus rounds exp, two additions, two divisions and its polynomial; mish
  // rounds a few more products: 4 ulp. Denormal results have fewer digits. The baseline has no fused multiply-add, so
  // exp has one more rounding. The derivative of mish is zero near -1.19, where its two terms, each at most 1.1,
  // cancel.
  for_each_instruction_set([](const KernelTable& table) {
    std::vector<float> x;
    for (int i = -8000; i < 8000; ++i) x.push_back(static_cast<float>(i) * 0.0123f + 0.0031f);
    for (const Activation kind : kPreciseKinds)
      for (const float p : {1.0f, 0.3f, 3.0f}) {
        const std::vector<float> both = values_and_derivatives(table, kind, x, p, kThreshold);
        for (std::size_t i = 0; i < x.size(); ++i) {
          // Half an ulp of rounding error in p * x becomes |p * x| half ulps in exp(p * x).
          const double inner = kind == kSoftplus && p != 1 ? std::abs(double{p} * x[i]) : 0;
          if (std::abs(double{p} * x[i] - kThreshold) < 1e-6) continue;
          const double value = reference_activation(kind, x[i], p), slope = reference_derivative(kind, x[i], p);
          const double relative = 5e-7 + 6e-8 * inner;
          ASSERT_NEAR(both[i], value, relative * std::abs(value) + 2e-38) << kind << " at " << x[i] << ", " << p;
          ASSERT_NEAR(both[x.size() + i], slope, relative * std::abs(slope) + (kind == kMish ? 6e-7 : 2e-38))
              << kind << " at " << x[i] << ", " << p;
        }
      }
  });
}

TEST(Activations, MishSoftplusAndReciprocalHandleExtremeNumbers) {
  for_each_instruction_set([](const KernelTable& table) {
    const float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
    std::vector<float> x(kLanes, std::nanf(""));
    x[1] = infinity, x[2] = -infinity, x[3] = largest, x[4] = -largest, x[5] = 0, x[6] = 100, x[7] = -100;
    for (const Activation kind : kPreciseKinds) {
      const std::vector<float> both = values_and_derivatives(table, kind, x, 1, 20);
      EXPECT_TRUE(std::isnan(both[0])) << kind;
      EXPECT_TRUE(std::isnan(both[kLanes])) << kind;
    }
    const std::vector<float> mish = values_and_derivatives(table, kMish, x, 1),
                             softplus = values_and_derivatives(table, kSoftplus, x, 1, 20),
                             high = values_and_derivatives(table, kSoftplus, x, 1, 1e9f),
                             reciprocal = values_and_derivatives(table, kReciprocal, x, 1);
    EXPECT_EQ(mish[1], infinity);
    EXPECT_EQ(mish[3], largest);
    EXPECT_EQ(mish[4], 0);
    EXPECT_EQ(mish[5], 0);
    EXPECT_EQ(mish[6], 100);
    EXPECT_NEAR(mish[7], -100 * std::exp(-100.0), 1e-43);
    for (const int i : {3, 6}) EXPECT_EQ(mish[at(kLanes + i)], 1);
    EXPECT_EQ(mish[kLanes + 4], 0);
    for (const auto& values : {softplus, high}) {
      EXPECT_EQ(values[1], infinity);
      EXPECT_EQ(values[2], 0);
      EXPECT_EQ(values[3], largest);
      EXPECT_EQ(values[4], 0);
      EXPECT_FLOAT_EQ(values[5], std::log(2.0f));
      EXPECT_EQ(values[6], 100);
      EXPECT_EQ(values[kLanes + 1], 1);
      EXPECT_EQ(values[kLanes + 2], 0);
      EXPECT_EQ(values[kLanes + 5], 0.5f);
    }
    EXPECT_EQ(reciprocal[5], infinity);
    EXPECT_EQ(reciprocal[1], 0);
    EXPECT_EQ(reciprocal[6], 0.01f);
  });
}

TEST(Activations, MishSoftplusAndReciprocalAreBitIdenticalOnAvx2AndAvx512) {
  std::vector<float> x;
  for (int i = -4000; i < 4000; ++i) x.push_back(static_cast<float>(i) * 0.0271f);
  std::map<Activation, std::vector<float>> first;
  for_each_instruction_set([&](const KernelTable& table) {
    if (table.vector_lanes == 4) return;  // no fused multiply-add
    for (const Activation kind : kPreciseKinds) {
      const std::vector<float> both = values_and_derivatives(table, kind, x, 0.7f);
      const auto [place, is_new] = first.try_emplace(kind, both);
      const std::size_t bytes = both.size() * sizeof(float);
      EXPECT_TRUE(is_new || std::memcmp(place->second.data(), both.data(), bytes) == 0) << kind;
    }
  });
}

TEST(Amax, GradientIsDividedAmongEqualMaxima) {
  for_each_instruction_set([](const KernelTable& table) {
    Random random(4);
    const int channels = 3, rows = 7, columns = 4;
    std::vector<float> x(at(channels * rows * columns * kLanes)), gradient(at(channels * columns * kLanes));
    for (float& each : x) each = static_cast<float>(random.whole(-2, 2));  // many ties
    for (float& each : gradient) each = static_cast<float>(random.whole(-9, 9));
    const std::int32_t start = 0, all = rows;
    std::vector<std::int32_t> starts, ones(columns, 1);
    for (int i = 0; i < columns; ++i) starts.push_back(i);
    std::vector<float> out(gradient.size()), back(x.size());
    PoolArguments args{};
    args.x = x.data(), args.gradient = gradient.data(), args.out = out.data(), args.channels = channels;
    args.rows = {&start, &all, 1, rows, 1}, args.columns = {starts.data(), ones.data(), columns, columns, 1};
    table.max_pool_forward(args);
    args.out = back.data();
    table.amax_backward(args);
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < columns * kLanes; ++i) {
        const auto place = [&](int row) { return at((c * rows + row) * columns * kLanes + i); };
        float maximum = x[place(0)];
        int ties = 0;
        for (int row = 0; row < rows; ++row) maximum = std::max(maximum, x[place(row)]);
        for (int row = 0; row < rows; ++row) ties += x[place(row)] == maximum;
        const std::size_t o = at(c * columns * kLanes + i);
        ASSERT_EQ(out[o], maximum);
        for (int row = 0; row < rows; ++row)
          ASSERT_EQ(back[place(row)], x[place(row)] == maximum ? gradient[o] / static_cast<float>(ties) : 0);
      }
  });
}

TEST(Softmax, LossesAndGradientsMatchReference) {
  for_each_instruction_set([](const KernelTable& table) {
    Random random(5);
    const int classes = 11;
    std::vector<float> outputs = random.numbers(at(classes * kLanes), -9, 9), gradient(outputs.size());
    std::array<std::int32_t, kLanes> labels{};
    for (auto& label : labels) label = random.whole(0, classes - 1);
    labels[3] = -1;
    LossArguments args{};
    args.outputs = outputs.data(), args.class_step = kLanes, args.classes = classes, args.labels = labels.data(),
    args.smoothing = 0.2f;
    args.scale = 0.5f, args.gradient = gradient.data(), args.gradient_step = kLanes;
    table.cross_entropy(args);
    for (int image = 0; image < kLanes; ++image) {
      double sum = 0, even = 0;
      for (int c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(outputs[at(c * kLanes + image)]));
      for (int c = 0; c < classes; ++c) {
        const double logit = outputs[at(c * kLanes + image)],
                     target = 0.2 / classes + (c == labels[at(image)] ? 0.8 : 0);
        even -= target * (logit - std::log(sum));
        const double expected = labels[at(image)] < 0 ? 0 : 0.5 * (std::exp(logit) / sum - target);
        ASSERT_NEAR(gradient[at(c * kLanes + image)], expected, 1e-6);
      }
      ASSERT_NEAR(args.loss[image], labels[at(image)] < 0 ? 0 : even, 1e-5);
    }
  });
}

TEST(DropoutMask, MatchesDropoutKey) {
  for_each_instruction_set([](const KernelTable& table) {
    const common::DropoutKey key(common::Stream(7, common::Purpose::kDropout, 3, 2));
    std::vector<std::uint16_t> mask(101);
    table.dropout_mask({key.low, key.high, 32, common::DropoutKey::threshold(0.3), 101, mask.data()});
    for (std::uint32_t element = 0; element < mask.size(); ++element)
      for (std::uint32_t image = 0; image < kLanes; ++image)
        ASSERT_EQ((mask[element] >> image & 1) != 0, key.keeps(32 + image, element, 0.3));
  });
}

TEST(Gather, TransposesAndScalesEveryPixel) {
  for_each_instruction_set([](const KernelTable& table) {
    Random random(9);
    const int channels = 2, rows = 5, columns = 7, size = channels * rows * columns;
    std::vector<std::uint8_t> images(at(kLanes * size));
    for (auto& pixel : images) pixel = static_cast<std::uint8_t>(random.whole(0, 255));
    const std::array<float, 2> scale{0.5f, 0.25f}, shift{-1, 2};
    std::vector<float> out(at(size * kLanes));
    GatherArguments args{};
    for (int image = 0; image < kLanes; ++image) args.images[image] = images.data() + image * size;
    args.channels = channels, args.rows = rows, args.columns = columns, args.scale = scale.data(),
    args.shift = shift.data();
    args.out = out.data(), args.out_plane = rows * columns * kLanes, args.out_row = columns * kLanes;
    table.gather(args);
    for (int i = 0; i < size; ++i)
      for (int image = 0; image < kLanes; ++image) {
        const std::size_t c = at(i / (rows * columns));
        ASSERT_EQ(out[at(i * kLanes + image)], static_cast<float>(images[at(image * size + i)]) * scale[c] + shift[c]);
      }
  });
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
