#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "mnistcnn/engine/lanes/conv/even_split.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kDomainBudget2d = 512 << 10;  // bytes in the domain of a tile group
constexpr int kMinGroupTiles = 8;

// Divide the tiles into groups that fit the L2 budget, or have kMinGroupTiles tiles.
std::vector<TileGroup2d> groups_of(const Convolution3x3& convolution, const Tiling2d& tiling) {
  const std::int64_t bytes_per_tile =
      (convolution.in.channels + convolution.out.channels) * (tiling.points() + 1) * kLanes * 4;
  const int fit = std::max(kMinGroupTiles, integer(kDomainBudget2d / bytes_per_tile));
  const int columns = split_size(tiling.columns, kMaxTileGroupColumns);
  const int rows = split_size(tiling.rows, std::max(1, fit / columns));
  std::vector<TileGroup2d> groups;
  for (int row = 0; row < tiling.rows; row += rows)
    for (int column = 0; column < tiling.columns; column += columns)
      groups.push_back({row, column, std::min(rows, tiling.rows - row), std::min(columns, tiling.columns - column)});
  return groups;
}

int largest_of(const std::vector<TileGroup2d>& groups) {
  int largest = 0;
  for (const TileGroup2d& group : groups) largest = std::max(largest, group.tiles());
  return largest;
}

// Return the range of a part of work that cannot be divided: all of it for the first part, nothing for the others.
IndexRange undivided(Part part, int size) { return {0, part.index == 0 ? size : 0}; }

}  // namespace

Winograd2dArguments transform_arguments(View map, const Extent& extent, const TileGroup2d& group,
                                        const Winograd2dDomain& domain, float* memory, std::int64_t first_tile) {
  Winograd2dArguments args{};
  set_map(args, map, extent);
  args.domain = memory;
  args.first_tile_row = group.row;
  args.first_tile_column = group.column;
  args.tile_rows = group.rows;
  args.tile_columns = group.columns;
  args.panel_tiles = domain.panel_tiles;
  args.domain_tiles = domain.tiles;
  args.first_domain_tile = first_tile;
  return args;
}

Winograd2dConvolution::Winograd2dConvolution(const KernelTable& kernels, const Convolution3x3& convolution,
                                             Direction direction)
    : kernels_(&kernels),
      convolution_(convolution),
      tiling_(convolution, kTile4x4),
      direction_(direction),
      groups_(groups_of(convolution, tiling_)),
      max_tiles_(largest_of(groups_)) {}

std::int64_t Winograd2dConvolution::workspace_size() const {
  const int points = tiling_.points();
  return Winograd2dDomain{points, from().channels, max_tiles_}.size() +
         Winograd2dDomain{points, to().channels, max_tiles_}.size();
}

void Winograd2dConvolution::pack(int task, const float* weights, float* packed) const {
  const std::int64_t forward_row = convolution_.in.channels * 9;
  Winograd2dWeightArguments args{};
  args.weights = weights + task * (is_forward() ? forward_row : 9);
  args.kernel_stride = is_forward() ? 9 : forward_row;
  args.count = integer(from().channels);
  args.out = packed + task * row();
  args.point_stride = point_weights();
  kernels_->winograd_2d[tiling_.kind].weights(args);
}

void Winograd2dConvolution::run(View x, const float* packed, const float* bias, View y, float* workspace,
                                Part part) const {
  const Winograd2dKernels& transforms = kernels_->winograd_2d[tiling_.kind];
  const int groups = static_cast<int>(groups_.size()), points = tiling_.points();
  const IndexRange own = is_forward() ? part.of(groups) : undivided(part, groups);
  for (const TileGroup2d& group : std::span(groups_).subspan(to_size(own.first), to_size(own.count))) {
    const Winograd2dDomain in{points, from().channels, group.tiles()}, out{points, to().channels, group.tiles()};
    Winograd2dArguments read = transform_arguments(x, from(), group, in, workspace),
                        write = transform_arguments(y, to(), group, out, workspace + in.size());
    (is_forward() ? read : write).top = convolution_.top;
    (is_forward() ? read : write).left = convolution_.left;
    write.bias = bias;
    (is_forward() ? transforms.inputs : transforms.gradients)(read);
    for (int point = 0; point < points; ++point)
      multiply_in_domain(*kernels_, point, {packed + point * point_weights(), row(), 1}, {0, integer(to().channels)},
                         in, read.domain, out, write.domain);
    (is_forward() ? transforms.outputs : transforms.input_gradients)(write);
  }
}

Winograd2dWeightGradient::Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      tiling_(convolution, kTile4x4),
      groups_(groups_of(convolution, tiling_)),
      max_tiles_(largest_of(groups_)) {
  if (convolution.in.channels < kMinTransposedChannels)
    lane_sums_.emplace(kernels, convolution.in.channels, convolution.out.channels, tiling_.points(), max_tiles_);
}

std::int64_t Winograd2dWeightGradient::workspace_size() const {
  const int points = tiling_.points();
  return Winograd2dDomain{points, convolution_.in.channels, max_tiles_}.size() +
         Winograd2dDomain{points, convolution_.out.channels, max_tiles_}.size() + kSumScratch +
         points * convolution_.out.channels * row();
}

void Winograd2dWeightGradient::sum(int point, const Winograd2dDomain& in, const float* x, const Winograd2dDomain& out,
                                   const float* d, const DomainSums& sums, float* scratch) const {
  if (lane_sums_) return lane_sums_->run(point, out, d, in, x, sums);
  const int channels = integer(in.channels);
  for (int c = 0; c < channels; c += kMaxSumChannels)
    sum_with_transpose(*kernels_, point, out, d, in, x, {c, std::min(kMaxSumChannels, channels - c)}, sums, scratch);
}

void Winograd2dWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace, Part part) const {
  const Winograd2dKernels& transforms = kernels_->winograd_2d[tiling_.kind];
  const int points = tiling_.points(), all_outputs = integer(convolution_.out.channels);
  const IndexRange own = lane_sums_ ? undivided(part, all_outputs) : part.of(all_outputs);
  if (own.count == 0) return;
  const std::int64_t channels = convolution_.in.channels, outputs = own.count, point_sums = outputs * row();
  const Extent gradient_extent{outputs, convolution_.out.rows, convolution_.out.columns};
  d.data += own.first * d.plane;
  out += own.first * channels * 9;
  float* const sums = workspace + kSumScratch;
  float* const domains = sums + points * point_sums;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const std::int64_t tiles = groups_[i].tiles(), panel_tiles = lane_sums_ ? tiles : kPanelTiles;
    const Winograd2dDomain in{points, channels, tiles, panel_tiles}, gradient{points, outputs, tiles, panel_tiles};
    Winograd2dArguments inputs = transform_arguments(x, convolution_.in, groups_[i], in, domains);
    inputs.top = convolution_.top;
    inputs.left = convolution_.left;
    transforms.inputs(inputs);
    const Winograd2dArguments gradients =
        transform_arguments(d, gradient_extent, groups_[i], gradient, domains + in.size());
    transforms.gradients(gradients);
    for (int point = 0; point < points; ++point)
      sum(point, in, inputs.domain, gradient, gradients.domain, {sums + point * point_sums, row(), i > 0}, workspace);
  }
  for (std::int64_t o = 0; o < outputs; ++o)
    transforms.weight_gradients(sums + o * row(), point_sums, channels, out + o * channels * 9, accumulate);
}

}  // namespace mnistcnn::engine::lanes
