#include "mnistcnn/engine/lanes/conv/pooled_convolution.h"

#include <limits>

#include "lanes/lanes_fixture.h"
#include "mnistcnn/engine/lanes/conv/direct_convolution.h"

// Convolutions fused with a max pool, compared with the separate kernels: the same bits.
namespace mnistcnn::engine::lanes::testing {
namespace {

struct Problem {
  network::Conv2d layer;
  PaddedLayout input;
  Extent map, pooled;  // outputs of the convolution and of the pool
  bool relu, bias, dropout;
};

network::Conv2d random_layer(Random& random, int outputs) {
  network::Conv2d layer;
  const int kernel = random.whole(0, 1) ? 3 : random.whole(1, 5);
  layer.out_channels = outputs;
  layer.kernel = {kernel, random.whole(0, 1) ? kernel : random.whole(1, 4)};
  layer.stride = {random.whole(1, 2), random.whole(1, 2)};
  layer.dilation = {random.whole(1, 2), random.whole(1, 2)};
  layer.padding = {random.whole(0, 2), random.whole(0, 2), random.whole(0, 2), random.whole(0, 2)};
  return layer;
}

std::int64_t outputs_along(std::int64_t inputs, std::int64_t padding, std::int64_t reach, std::int64_t stride) {
  return inputs + padding < reach ? 0 : (inputs + padding - reach) / stride + 1;
}

// Return a problem with at least one window.
Problem random_problem(Random& random) {
  for (;;) {
    const int channels = random.whole(1, 8), outputs = random.whole(1, 13);
    const network::Conv2d layer = random_layer(random, outputs);
    const Extent in{channels, random.whole(2, 11), random.whole(2, 11)};
    const network::Border& border = layer.padding;
    const std::int64_t rows = outputs_along(in.rows, border.top + border.bottom,
                                            layer.dilation.height * (layer.kernel.height - 1) + 1, layer.stride.height);
    const std::int64_t columns = outputs_along(in.columns, border.left + border.right,
                                               layer.dilation.width * (layer.kernel.width - 1) + 1, layer.stride.width);
    if (rows < 2 || columns < 2) continue;
    return {layer,
            {in, {border.top, border.bottom, border.left, border.right}},
            {outputs, rows, columns},
            {outputs, rows / 2, columns / 2},
            random.whole(0, 1) == 1,
            random.whole(0, 1) == 1,
            random.whole(0, 1) == 1};
  }
}

struct Result {
  std::vector<float> y, gradient;
  std::vector<std::uint8_t> positions;
};

Result run_fused(const KernelTable& table, const Problem& p, View x, const std::vector<float>& weights,
                 const float* bias, const std::uint16_t* mask, const std::vector<float>& y_gradient) {
  const PooledConvolution convolution(table, p.layer, p.input, p.pooled, p.relu);
  std::vector<float> packed(to_size(convolution.packed_size()));
  for (int task = 0; task < convolution.packing_tasks(); ++task) convolution.pack(task, weights.data(), packed.data());
  Result result;
  result.y.assign(y_gradient.size(), -7);
  result.gradient.assign(to_size(p.map.elements() * kLanes), -7);
  result.positions.resize(y_gradient.size());
  std::uint8_t* const positions = result.positions.data();
  const View y = dense_view(result.y.data(), p.pooled);
  for (const int part : {1, 0}) convolution.run(x, packed.data(), bias, {y, positions, mask, 2}, {part, 2});
  PointwiseArguments args{};
  args.channels = integer(p.map.channels), args.rows = integer(p.map.rows), args.columns = integer(p.map.columns);
  args.out_rows = integer(p.pooled.rows), args.out_columns = integer(p.pooled.columns);
  args.mask = mask, args.mask_plane = p.pooled.positions(), args.keep_scale = 2;
  std::vector<float> out = y_gradient;
  args.out = out.data(), args.out_plane = y.plane, args.out_row = y.row;
  args.positions = positions, args.positions_plane = y.plane;
  args.y_gradient = result.gradient.data(), args.y_gradient_plane = p.map.positions() * kLanes,
  args.y_gradient_row = p.map.columns * kLanes;
  table.gradient_at_positions(args);
  return result;
}

Result run_separately(const KernelTable& table, const Problem& p, View x, const std::vector<float>& weights,
                      const float* bias, const std::uint16_t* mask, const std::vector<float>& y_gradient) {
  const network::Conv2d& layer = p.layer;
  const Extent& in = p.input.extent;
  const std::int64_t taps = layer.kernel.height * layer.kernel.width;
  const DirectConvolution convolution(table, {1, integer(in.channels), integer(p.map.channels)},
                                      forward_axis(in.rows, p.map.rows, layer.kernel.height, layer.stride.height,
                                                   layer.padding.top, layer.dilation.height),
                                      forward_axis(in.columns, p.map.columns, layer.kernel.width, layer.stride.width,
                                                   layer.padding.left, layer.dilation.width),
                                      {0, in.channels * taps, taps, layer.kernel.width});
  std::vector<float> packed(to_size(convolution.packed_size()));
  for (int task = 0; task < convolution.packing_tasks(); ++task) convolution.pack(task, weights.data(), packed.data());
  std::vector<float> map(to_size(p.map.elements() * kLanes));
  convolution.run(x, packed.data(), bias, dense_view(map.data(), p.map));
  Result result;
  result.y.resize(y_gradient.size());
  result.gradient.resize(map.size());
  const std::vector<float> ones(to_size(p.map.channels), 1), zeros(to_size(p.map.channels), 0);
  PointwiseArguments args{};
  args.y = map.data(), args.y_plane = p.map.positions() * kLanes;
  args.channels = integer(p.map.channels), args.rows = integer(p.map.rows), args.columns = integer(p.map.columns);
  args.out_rows = integer(p.pooled.rows), args.out_columns = integer(p.pooled.columns);
  args.scale = ones.data(), args.shift = args.gradient_mean = args.projection = args.mean = zeros.data();
  args.mask = mask, args.mask_plane = p.pooled.positions(), args.keep_scale = 2;
  args.out = result.y.data(), args.out_plane = p.pooled.positions() * kLanes, args.out_row = p.pooled.columns * kLanes;
  args.y_gradient = result.gradient.data(), args.y_gradient_plane = args.y_plane,
  args.y_gradient_row = p.map.columns * kLanes;
  const PointwiseKind kind = p.relu ? kAffineRelu : kAffine;
  const PointwiseDropout dropout = mask != nullptr ? kDropoutAfterPool : kNoDropout;
  result.positions.resize(y_gradient.size());
  args.positions = result.positions.data(), args.positions_plane = args.out_plane;
  table.pointwise_forward[kind][kMaxPool][dropout](args);
  std::vector<float> out = y_gradient;
  args.out = out.data();
  table.pointwise_backward[kind][kMaxPool][dropout](args);
  return result;
}

// Whole numbers, so that some inputs of a window are equal.
std::vector<float> whole_numbers(Random& random, std::size_t count) {
  std::vector<float> numbers(count);
  for (float& each : numbers) each = static_cast<float>(random.whole(-2, 2));
  return numbers;
}

// special: value of the first pixel of some images.
void expect_same_results(const KernelTable& table, const Problem& p, Random& random, float special) {
  std::vector<float> memory(to_size(p.input.size()));
  const View x = p.input.view(memory.data());
  const Extent& in = p.input.extent;
  for (std::int64_t c = 0; c < in.channels; ++c)
    for (std::int64_t h = 0; h < in.rows; ++h) {
      const std::vector<float> row = whole_numbers(random, to_size(in.columns * kLanes));
      std::copy(row.begin(), row.end(), x.data + c * x.plane + h * x.row);
    }
  for (int i = 0; i < kLanes; i += 5) x.data[i] = special;
  const std::size_t taps = to_size(in.channels * p.layer.kernel.height * p.layer.kernel.width);
  const std::vector<float> weights = whole_numbers(random, to_size(p.map.channels) * taps);
  const std::vector<float> biases = whole_numbers(random, to_size(p.map.channels));
  const std::vector<float> y_gradient = random.numbers(to_size(p.pooled.elements() * kLanes));
  std::vector<std::uint16_t> mask(to_size(p.pooled.elements()));
  for (auto& each : mask) each = static_cast<std::uint16_t>(random.whole(0, 65535));
  const float* const bias = p.bias ? biases.data() : nullptr;
  const std::uint16_t* const used_mask = p.dropout ? mask.data() : nullptr;
  const Result fused = run_fused(table, p, x, weights, bias, used_mask, y_gradient),
               separate = run_separately(table, p, x, weights, bias, used_mask, y_gradient);
  for (std::size_t i = 0; i < fused.y.size(); ++i)
    ASSERT_TRUE(fused.y[i] == separate.y[i] || (std::isnan(fused.y[i]) && std::isnan(separate.y[i])))
        << i << ": " << fused.y[i] << " " << separate.y[i];
  ASSERT_EQ(fused.positions, separate.positions);
  // The separate kernel multiplies infinite inputs by zero.
  if (std::isfinite(special)) {
    ASSERT_EQ(fused.gradient, separate.gradient);
  }
}

TEST(PooledConvolution, HasTheSameBitsAsTheSeparateKernels) {
  for_each_instruction_set([](const KernelTable& table) {
    for (unsigned seed = 0; seed < 200; ++seed) {
      SCOPED_TRACE(seed);
      Random random(seed);
      expect_same_results(table, random_problem(random), random, 1);
    }
  });
}

TEST(PooledConvolution, PropagatesNanAndInfinity) {
  for_each_instruction_set([](const KernelTable& table) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (const float special : {std::nanf(""), kInfinity, -kInfinity})
      for (unsigned seed = 0; seed < 20; ++seed) {
        SCOPED_TRACE(std::to_string(special) + " " + std::to_string(seed));
        Random random(seed);
        expect_same_results(table, random_problem(random), random, special);
      }
  });
}

TEST(PooledConvolution, SupportsFewInputChannelsInOneGroup) {
  network::Conv2d layer;
  EXPECT_TRUE(PooledConvolution::supports(layer, 1));
  EXPECT_TRUE(PooledConvolution::supports(layer, 8));
  EXPECT_FALSE(PooledConvolution::supports(layer, 9));
  layer.groups = 2;
  EXPECT_FALSE(PooledConvolution::supports(layer, 2));
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
