#include "mnistcnn/engine/lanes/conv/direct_convolution.h"

#include "lanes/lanes_fixture.h"

// Direct convolutions of random shapes, compared with direct sums in double.
namespace mnistcnn::engine::lanes::testing {
namespace {

struct Problem {
  int groups, channels, outputs;
  Axis rows, columns;
  int kernel_columns;
};

Axis random_axis(Random& random, int& kernel) {
  const int inputs = random.whole(1, 12), dilation = random.whole(1, 2), stride = random.whole(1, 3),
            padding = random.whole(0, 2);
  kernel = random.whole(0, 1) ? 3 : random.whole(1, 5);
  const int reach = dilation * (kernel - 1) + 1;
  const int outputs = std::max(1, (inputs + 2 * padding - reach) / stride + 1);
  return forward_axis(inputs, outputs, kernel, stride, padding, dilation);
}

// Reference: y[group, o][row][column][image] in double.
double expected_at(const Problem& p, const std::vector<float>& x, const std::vector<float>& w, int group, int o,
                   int row, int column, int image) {
  double sum = 0;
  for (int c = 0; c < p.channels; ++c)
    for (std::size_t i = 0; i < p.rows.offset.size(); ++i)
      for (std::size_t j = 0; j < p.columns.offset.size(); ++j) {
        const int h = p.rows.offset[i] + row * p.rows.step, v = p.columns.offset[j] + column * p.columns.step;
        if (h < 0 || h >= p.rows.inputs || v < 0 || v >= p.columns.inputs) continue;
        const int plane = group * p.channels + c;
        const std::size_t at =
            static_cast<std::size_t>(((plane * p.rows.inputs + h) * p.columns.inputs + v) * kLanes + image);
        const int tap = p.rows.source[i] * p.kernel_columns + p.columns.source[j];
        const std::size_t taps = p.rows.source.size() * static_cast<std::size_t>(p.kernel_columns);
        sum +=
            static_cast<double>(x[at]) * w[(static_cast<std::size_t>((group * p.outputs + o) * p.channels + c)) * taps +
                                           static_cast<std::size_t>(tap)];
      }
  return sum;
}

void check(const KernelTable& table, const Problem& p, Random& random) {
  const int taps = static_cast<int>(p.rows.source.size()) * p.kernel_columns;
  const DirectConvolution convolution(table, {p.groups, p.channels, p.outputs}, p.rows, p.columns,
                                      {p.outputs * p.channels * taps, p.channels * taps, taps, p.kernel_columns});
  const std::size_t planes = static_cast<std::size_t>(p.groups * p.channels);
  const std::vector<float> x =
      random.numbers(planes * static_cast<std::size_t>(p.rows.inputs * p.columns.inputs * kLanes));
  const std::vector<float> w = random.numbers(static_cast<std::size_t>(p.groups * p.outputs * p.channels * taps));
  std::vector<float> packed(static_cast<std::size_t>(convolution.packed_size()) + 16);
  for (int task = 0; task < convolution.packing_tasks(); ++task) convolution.pack(task, w.data(), packed.data());
  // Columns outside the map: zeros if the convolution needs padding, otherwise NaN, which would propagate to the
  // outputs.
  const int left = p.columns.before(), right = p.columns.after(), width = left + p.columns.inputs + right;
  const float outside = convolution.needs_column_padding() ? 0.0f : std::nanf("");
  std::vector<float> padded(planes * static_cast<std::size_t>(p.rows.inputs * width * kLanes), outside);
  for (std::size_t row = 0; row < planes * static_cast<std::size_t>(p.rows.inputs); ++row)
    std::copy_n(x.data() + row * static_cast<std::size_t>(p.columns.inputs * kLanes), p.columns.inputs * kLanes,
                padded.data() + (row * static_cast<std::size_t>(width) + static_cast<std::size_t>(left)) * kLanes);
  const int out_positions = p.rows.outputs * p.columns.outputs;
  std::vector<float> y(static_cast<std::size_t>(p.groups * p.outputs * out_positions * kLanes), std::nanf(""));
  convolution.run(
      {padded.data() + left * kLanes, std::int64_t{p.rows.inputs} * width * kLanes, std::int64_t{width} * kLanes},
      packed.data(), nullptr,
      {y.data(), std::int64_t{out_positions} * kLanes, std::int64_t{p.columns.outputs} * kLanes});
  for (int plane = 0; plane < p.groups * p.outputs; ++plane)
    for (int at = 0; at < out_positions; ++at) {
      const int image = random.whole(0, kLanes - 1);
      const double expected = expected_at(p, x, w, plane / p.outputs, plane % p.outputs, at / p.columns.outputs,
                                          at % p.columns.outputs, image);
      ASSERT_NEAR(y[static_cast<std::size_t>((plane * out_positions + at) * kLanes + image)], expected, 2e-4);
    }
}

TEST(DirectConvolution, MatchesTheDirectSumForRandomShapes) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < 150; ++seed) {
      SCOPED_TRACE(seed);
      Random random(seed);
      int kernel_rows = 0, kernel_columns = 0;
      Problem p{random.whole(1, 3), random.whole(1, 20), random.whole(1, 20), random_axis(random, kernel_rows), {}, 0};
      p.columns = random_axis(random, kernel_columns);
      p.kernel_columns = kernel_columns;
      check(table, p, random);
    }
  });
}

TEST(GradientAxes, CoverEveryInputOnce) {
  for (const int stride : {1, 2, 3})
    for (const int dilation : {1, 2}) {
      std::vector<int> covered(11);
      for (const Axis& axis : gradient_axes(11, 4, 3, stride, 1, dilation))
        for (int i = 0; i < axis.outputs; ++i)
          ++covered[static_cast<std::size_t>(axis.first_output + i * axis.output_step)];
      EXPECT_EQ(covered, std::vector<int>(11, 1));
    }
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
