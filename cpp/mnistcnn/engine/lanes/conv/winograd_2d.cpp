#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "mnistcnn/engine/lanes/conv/even_split.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kDomainBudget2d = 512 << 10;  // bytes in the domain of a tile group

// Divide the tiles of each size into groups of as many tiles as fit the L2 budget, but at least one panel.
std::vector<TileGroup2d> groups_of(const Convolution3x3& convolution, const Tiling2d& tiling) {
  std::vector<TileGroup2d> groups;
  for (const auto& [rows, columns] : tiling.groups()) {
    const std::int64_t points = rows.points() * columns.points(),
                       bytes_per_tile =
                           (convolution.in.channels + convolution.out.channels) * (points + 1) * kLanes * 4;
    const int fit = std::max(kPanelTiles, integer(kDomainBudget2d / bytes_per_tile));
    const int width = split_size(columns.count, std::min(fit, kMaxTileGroupColumns));
    const int height = split_size(rows.count, std::max(1, fit / width));
    for (int row = 0; row < rows.count; row += height)
      for (int column = 0; column < columns.count; column += width)
        groups.push_back(
            {{rows.first + row * rows.size, rows.size, std::min(height, rows.count - row)},
             {columns.first + column * columns.size, columns.size, std::min(width, columns.count - column)}});
  }
  return groups;
}

// Return the size of the largest domain of a group, in floats.
std::int64_t largest_domain(const std::vector<TileGroup2d>& groups, std::int64_t channels) {
  std::int64_t largest = 0;
  for (const TileGroup2d& group : groups)
    largest = std::max(largest, Winograd2dDomain{group.points(), channels, group.tiles()}.size());
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
  args.first_row = group.rows.first;
  args.first_column = group.columns.first;
  args.tile_height = group.rows.size;
  args.tile_width = group.columns.size;
  args.tile_rows = group.rows.count;
  args.tile_columns = group.columns.count;
  args.panel_tiles = domain.panel_tiles;
  args.domain_tiles = domain.tiles;
  args.first_domain_tile = first_tile;
  return args;
}

Winograd2dArguments input_transform_arguments(View map, const Convolution3x3& convolution, const TileGroup2d& group,
                                              const Winograd2dDomain& domain, float* memory, std::int64_t first_tile) {
  Winograd2dArguments args = transform_arguments(map, convolution.in, group, domain, memory, first_tile);
  args.top = convolution.top;
  args.left = convolution.left;
  return args;
}

Winograd2dConvolution::Winograd2dConvolution(const KernelTable& kernels, const Convolution3x3& convolution,
                                             Direction direction)
    : kernels_(&kernels),
      convolution_(convolution),
      tiling_(convolution),
      direction_(direction),
      groups_(groups_of(convolution, tiling_)) {}

std::int64_t Winograd2dConvolution::workspace_size() const {
  return largest_domain(groups_, from().channels) + largest_domain(groups_, to().channels);
}

void Winograd2dConvolution::pack(int task, const float* weights, float* packed) const {
  const std::int64_t forward_row = convolution_.in.channels * 9;
  Winograd2dWeightArguments args{};
  args.weights = weights + task * (is_forward() ? forward_row : 9);
  args.kernel_stride = is_forward() ? 9 : forward_row;
  args.count = integer(from().channels);
  args.row_points = tiling_.row_points();
  args.column_points = tiling_.column_points();
  args.out = packed + task * row();
  args.point_stride = point_weights();
  kernels_->winograd_2d.weights(args);
}

void Winograd2dConvolution::multiply(const TileGroup2d& group, const float* from_domain, const float* packed,
                                     const float* bias, View y, float* to_domain) const {
  const Winograd2dDomain in{group.points(), from().channels, group.tiles()},
      out{group.points(), to().channels, group.tiles()};
  tiling_.for_each_point(group, [&](int point, int weights) {
    multiply_in_domain(*kernels_, point, {packed + weights * point_weights(), row(), 1}, {0, integer(to().channels)},
                       in, from_domain, out, to_domain);
  });
  if (!is_forward())
    return kernels_->winograd_2d.input_gradients(input_transform_arguments(y, convolution_, group, out, to_domain));
  Winograd2dArguments write = transform_arguments(y, convolution_.out, group, out, to_domain);
  write.bias = bias;
  kernels_->winograd_2d.outputs(write);
}

void Winograd2dConvolution::run(View x, const float* packed, const float* bias, View y, float* workspace,
                                Part part) const {
  const Winograd2dKernels& transforms = kernels_->winograd_2d;
  const int groups = static_cast<int>(groups_.size());
  const IndexRange own = is_forward() ? part.of(groups) : undivided(part, groups);
  for (const TileGroup2d& group : std::span(groups_).subspan(to_size(own.first), to_size(own.count))) {
    const Winograd2dDomain in{group.points(), from().channels, group.tiles()};
    if (is_forward())
      transforms.inputs(input_transform_arguments(x, convolution_, group, in, workspace));
    else
      transforms.gradients(transform_arguments(x, convolution_.out, group, in, workspace));
    multiply(group, workspace, packed, bias, y, workspace + in.size());
  }
}

Winograd2dWeightGradient::Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels), convolution_(convolution), tiling_(convolution), groups_(groups_of(convolution, tiling_)) {
  if (convolution.in.channels < kMinTransposedChannels)
    lane_sums_.emplace(kernels, convolution.in.channels, convolution.out.channels, groups_);
}

std::int64_t Winograd2dWeightGradient::workspace_size() const {
  return largest_domain(groups_, convolution_.in.channels) + largest_domain(groups_, convolution_.out.channels) +
         kSumScratch + tiling_.points() * convolution_.out.channels * row();
}

Winograd2dWeightGradient::Domains Winograd2dWeightGradient::add_group(int index, View x, View d, IndexRange outputs,
                                                                      float* workspace) const {
  const TileGroup2d& group = groups_[to_size(index)];
  const std::int64_t channels = convolution_.in.channels, tiles = group.tiles(),
                     panel_tiles = lane_sums_ ? tiles : kPanelTiles, point_sums = outputs.count * row();
  const Winograd2dDomain in{group.points(), channels, tiles, panel_tiles},
      out{group.points(), outputs.count, tiles, panel_tiles};
  float* const sums = workspace + kSumScratch;
  const Domains domains{sums + tiling_.points() * point_sums, sums + tiling_.points() * point_sums + in.size()};
  kernels_->winograd_2d.inputs(input_transform_arguments(x, convolution_, group, in, domains.inputs));
  const Extent extent{outputs.count, convolution_.out.rows, convolution_.out.columns};
  d.data += outputs.first * d.plane;
  kernels_->winograd_2d.gradients(transform_arguments(d, extent, group, out, domains.gradients));
  // The first group has all points.
  tiling_.for_each_point(group, [&](int point, int sum) {
    const DomainSums target{sums + sum * point_sums, row(), index > 0};
    if (lane_sums_) return lane_sums_->run(index, point, out, domains.gradients, in, domains.inputs, target);
    for (int c = 0; c < integer(channels); c += kMaxSumChannels)
      sum_with_transpose(*kernels_, point, out, domains.gradients, in, domains.inputs,
                         {c, std::min(kMaxSumChannels, integer(channels) - c)}, target, workspace);
  });
  return domains;
}

void Winograd2dWeightGradient::write(const float* workspace, IndexRange outputs, float* out, bool accumulate) const {
  Winograd2dSumArguments args{};
  args.point_stride = outputs.count * row();
  args.count = convolution_.in.channels;
  args.row_points = tiling_.row_points();
  args.column_points = tiling_.column_points();
  args.accumulate = accumulate;
  for (int o = 0; o < outputs.count; ++o) {
    args.sums = workspace + kSumScratch + o * row();
    args.out = out + (outputs.first + o) * args.count * 9;
    kernels_->winograd_2d.weight_gradients(args);
  }
}

void Winograd2dWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace, Part part) const {
  const int all = all_outputs().count;
  const IndexRange own = lane_sums_ ? undivided(part, all) : part.of(all);
  if (own.count == 0) return;
  for (int i = 0; i < groups(); ++i) add_group(i, x, d, own, workspace);
  write(workspace, own, out, accumulate);
}

}  // namespace mnistcnn::engine::lanes
