#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include <algorithm>
#include <array>

#include "mnistcnn/engine/lanes/conv/even_split.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kPoints = 36;
constexpr std::int64_t kL2Budget = 512 << 10;  // bytes in the domain of a tile group

// Position of the last group of a row or column of groups: all groups have one size and the last overlaps the previous
// one, or the last is smaller.
enum class LastGroup { kOverlaps, kIsSmaller };

// Divide the tiles into groups of at least `min_tiles` tiles, with as many rows of tiles as fit the L2 budget.
TileGroups groups_of(const Convolution3x3& convolution, int min_tiles, LastGroup last) {
  const int columns = split_size(convolution.tile_columns(), kMaxTileGroupColumns);
  const std::int64_t bytes_per_row =
      (convolution.in.channels + convolution.out.channels) * kPoints * columns * kLanes * 4;
  const int fit = std::max({1, integer(kL2Budget / bytes_per_row), (min_tiles + columns - 1) / columns});
  int rows = split_size(convolution.tile_rows(), fit);
  while (last == LastGroup::kOverlaps && convolution.tile_rows() % rows != 0) --rows;  // no overlap of rows
  TileGroups groups{{0, 0, rows, columns}, {}};
  for (int row = 0; row < convolution.tile_rows(); row += rows)
    for (int column = 0; column < convolution.tile_columns(); column += columns) {
      const int rows_left = convolution.tile_rows() - row, columns_left = convolution.tile_columns() - column;
      if (last == LastGroup::kIsSmaller)
        groups.each.push_back({row, column, std::min(rows, rows_left), std::min(columns, columns_left)});
      else
        groups.each.push_back(
            {row + std::min(0, rows_left - rows), column + std::min(0, columns_left - columns), rows, columns});
    }
  return groups;
}

Axis single_position(int outputs) { return forward_axis(outputs, outputs, 1, 1, 0, 1); }

// Transform the kernel of the input gradient: the forward kernel rotated by 180 degrees.
std::array<double, kPoints> transform_flipped_kernel(const float* weights) {
  const auto w = [&](int i, int j) { return double{weights[8 - (3 * i + j)]}; };
  std::array<std::array<double, 6>, 3> rows;
  for (int i = 0; i < 3; ++i) rows[static_cast<std::size_t>(i)] = transform_f43(w(i, 0), w(i, 1), w(i, 2));
  std::array<double, kPoints> transformed;
  for (std::size_t j = 0; j < 6; ++j) {
    const auto column = transform_f43(rows[0][j], rows[1][j], rows[2][j]);
    for (std::size_t i = 0; i < 6; ++i) transformed[i * 6 + j] = column[i];
  }
  return transformed;
}

// Stride between points, in floats.
std::int64_t domain_stride_of(const Extent& extent, const TileGroups& groups) {
  return odd_cache_lines(extent.channels * groups.max_tiles());
}

std::int64_t domain_floats(const Extent& extent, const TileGroups& groups) {
  return kPoints * domain_stride_of(extent, groups);
}

Winograd2dArguments group_arguments(View map, const Extent& extent, const TileGroups& groups,
                                    const TileGroups::Group& group) {
  Winograd2dArguments args{};
  set_map(args, map, extent);
  args.first_tile_row = group.row;
  args.first_tile_column = group.column;
  args.tile_rows = group.rows;
  args.tile_columns = group.columns;
  args.domain_channel_stride = groups.max_tiles() * kLanes;
  args.domain_stride = domain_stride_of(extent, groups);
  return args;
}

}  // namespace

Winograd2dInputGradient::Winograd2dInputGradient(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      groups_(groups_of(convolution, 6, LastGroup::kOverlaps)),
      domain_convolution_(kernels, {1, integer(convolution.in.channels), integer(convolution.out.channels)},
                          single_position(1), single_position(groups_.max_tiles()), {}),
      register_tiles_(domain_convolution_.register_tiles()) {}

std::int64_t Winograd2dInputGradient::workspace_size() const {
  return domain_floats(convolution_.in, groups_) + domain_floats(convolution_.out, groups_);
}

void Winograd2dInputGradient::pack(int task, const float* weights, float* packed) const {
  const std::int64_t channels = convolution_.in.channels, outputs = convolution_.out.channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* const kernel = weights + (c * outputs + task) * 9;
    const std::array<double, kPoints> transformed = transform_flipped_kernel(kernel);
    float* to = packed + domain_convolution_.packed_offset(task, integer(c));
    for (const double each : transformed) {
      *to = static_cast<float>(each);
      to += domain_convolution_.packed_size();
    }
  }
}

void Winograd2dInputGradient::multiply_in_domain(const float* inputs, const float* packed, float* outputs) const {
  const std::int64_t row = groups_.max_tiles() * kLanes;
  ConvolutionArguments args{};
  args.x_plane = args.y_plane = row;
  args.x_step = args.y_step = kLanes;
  args.channels = integer(convolution_.in.channels);
  args.kernel_rows = args.kernel_columns = args.end_row = args.end_column = 1;
  for (int point = 0; point < kPoints; ++point) {
    for (const DirectConvolution::RegisterTile& tile : register_tiles_) {
      args.x = inputs + tile.column * kLanes;
      args.w = packed + tile.output * convolution_.in.channels;
      args.y = outputs + tile.output * row + tile.column * kLanes;
      tile.kernel(args);
    }
    inputs += domain_stride_of(convolution_.in, groups_);
    packed += domain_convolution_.packed_size();
    outputs += domain_stride_of(convolution_.out, groups_);
  }
}

void Winograd2dInputGradient::run(View x, const float* packed, const float*, View y, float* workspace,
                                  Part part) const {
  float* const outputs = workspace + domain_floats(convolution_.in, groups_);
  // Groups in one row overlap, so they belong to the same part.
  const int rows = groups_.largest.rows;
  const IndexRange own = part.of(convolution_.tile_rows() / rows);
  for (const TileGroups::Group& group : groups_.each) {
    if (group.row < own.first * rows || group.row >= (own.first + own.count) * rows) continue;
    Winograd2dArguments in = group_arguments(x, convolution_.in, groups_, group),
                        out = group_arguments(y, convolution_.out, groups_, group);
    in.top = convolution_.top;
    in.left = convolution_.left;
    in.domain = workspace;
    out.domain = outputs;
    kernels_->winograd_2d_inputs(in);
    multiply_in_domain(in.domain, packed, out.domain);
    kernels_->winograd_2d_outputs(out);
  }
}

Winograd2dWeightGradient::Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      groups_(groups_of(convolution, 8, LastGroup::kIsSmaller)),
      register_tiles_(weight_gradient_tiles(kernels, integer(convolution.out.channels),
                                            integer(convolution.in.channels), groups_.max_tiles())) {
  for (std::int64_t c = 0; c < convolution.in.channels; ++c) taps_.push_back(integer(c * groups_.max_tiles() * kLanes));
}

std::int64_t Winograd2dWeightGradient::workspace_size() const {
  return domain_floats(convolution_.in, groups_) + domain_floats(convolution_.out, groups_) +
         kPoints * convolution_.in.channels * convolution_.out.channels;
}

void Winograd2dWeightGradient::sum_in_domain(const PartOfOutputs& part, const float* inputs, const float* gradients,
                                             float* sums, int tiles, bool accumulate) const {
  const std::int64_t channels = convolution_.in.channels, row = groups_.max_tiles() * kLanes;
  WeightGradientArguments args{};
  args.d_plane = args.d_row = args.x_row = row;
  args.x_step = kLanes;
  args.rows = 1;
  args.columns = tiles;
  args.out_row = channels;
  args.accumulate = accumulate;
  for (int point = 0; point < kPoints; ++point) {
    args.x = inputs + point * domain_stride_of(convolution_.in, groups_);
    for (const WeightGradientTile& tile : part.tiles) {
      const int output = tile.output - part.first;
      args.d = gradients + point * domain_stride_of(convolution_.out, groups_) + output * row;
      args.taps = taps_.data() + tile.tap;
      args.out = sums + (point * part.outputs + output) * channels + tile.tap;
      tile.kernel(args);
    }
  }
}

void Winograd2dWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace, Part part) const {
  const PartOfOutputs own = outputs_of_part(register_tiles_, integer(convolution_.out.channels), part);
  if (own.outputs == 0) return;
  d.data += own.first * d.plane;
  float* const gradients = workspace + domain_floats(convolution_.in, groups_);
  float* const sums = gradients + domain_floats(convolution_.out, groups_);
  for (std::size_t i = 0; i < groups_.each.size(); ++i) {
    Winograd2dArguments in = group_arguments(x, convolution_.in, groups_, groups_.each[i]);
    in.top = convolution_.top;
    in.left = convolution_.left;
    in.domain = workspace;
    kernels_->winograd_2d_inputs(in);
    Winograd2dArguments gradient = group_arguments(d, convolution_.out, groups_, groups_.each[i]);
    gradient.channels = own.outputs;
    gradient.domain = gradients;
    kernels_->winograd_2d_gradients(gradient);
    sum_in_domain(own, workspace, gradients, sums, groups_.each[i].tiles(), i > 0);
  }
  kernels_->winograd_2d_weights(sums, convolution_.in.channels * own.outputs,
                                out + own.first * convolution_.in.channels * 9, accumulate);
}

}  // namespace mnistcnn::engine::lanes
