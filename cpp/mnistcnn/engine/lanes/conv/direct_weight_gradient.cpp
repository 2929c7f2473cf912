#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"

#include <algorithm>
#include <limits>

namespace mnistcnn::engine::lanes {
namespace {

// Vectors of a step in L1 (28 of 32 KiB) and in L2 (256 KiB).
constexpr int kVectorsInL1 = 448, kVectorsInL2 = 4096;
constexpr int kVectorsPerPosition = 8;  // read by a register tile of 6 x 2 sums

// Estimate the cycles of multiply-adds and loads, sums over images, and calls. Infinite if a kernel is missing.
double cost_of(const KernelTable& kernels, const std::vector<IndexRange>& outputs, const std::vector<IndexRange>& taps,
               double positions) {
  double cost = 0;
  for (const IndexRange& a : outputs)
    for (const IndexRange& b : taps) {
      if (kernels.weight_gradient[a.count][b.count] == nullptr) return std::numeric_limits<double>::infinity();
      const int sums = a.count * b.count;
      cost += positions * std::max({sums * 0.5, (a.count + b.count) * 0.5, 4.0}) + sums * 3.0 + 30;
    }
  return cost;
}

}  // namespace

std::vector<WeightGradientTile> weight_gradient_tiles(const KernelTable& kernels, int outputs, int taps,
                                                      std::int64_t positions) {
  double best = std::numeric_limits<double>::infinity();
  std::vector<IndexRange> output_ranges, tap_ranges;
  for (int o = 1; o <= std::min(kMaxTileChannels, outputs); ++o)
    for (int k = 1; k <= std::min(kMaxTileTaps, taps); ++k) {
      const std::vector<IndexRange> a = split_evenly(outputs, o), b = split_evenly(taps, k);
      const double cost = cost_of(kernels, a, b, static_cast<double>(positions));
      if (cost >= best) continue;
      best = cost;
      output_ranges = a;
      tap_ranges = b;
    }
  std::vector<WeightGradientTile> tiles;
  for (const IndexRange& a : output_ranges)
    for (const IndexRange& b : tap_ranges)
      tiles.push_back({kernels.weight_gradient[a.count][b.count], a.first, b.first, a.count});
  return tiles;
}

PartOfOutputs outputs_of_part(std::span<const WeightGradientTile> tiles, int outputs, Part part) {
  const auto taps_ranges = static_cast<int>(std::ranges::count(tiles, 0, &WeightGradientTile::output));
  const auto ranges = static_cast<int>(tiles.size()) / taps_ranges;  // of output channels
  const IndexRange own = part.of(ranges);
  const auto first_output = [&](int range) {
    return range == ranges ? outputs : tiles[static_cast<std::size_t>(range * taps_ranges)].output;
  };
  const int first = first_output(own.first), end = first_output(own.first + own.count);
  return {tiles.subspan(static_cast<std::size_t>(own.first * taps_ranges),
                        static_cast<std::size_t>(own.count * taps_ranges)),
          first, end - first};
}

DirectWeightGradient::DirectWeightGradient(const KernelTable& kernels, const network::Conv2d& layer,
                                           const PaddedLayout& input, const Extent& output)
    : groups_(layer.groups),
      channels_(input.extent.channels / layer.groups),
      outputs_(output.channels / layer.groups),
      stride_(layer.stride),
      rows_(integer(output.rows)),
      columns_(integer(output.columns)) {
  for (std::int64_t c = 0; c < channels_; ++c)
    for (std::int64_t i = 0; i < layer.kernel.height; ++i)
      for (std::int64_t j = 0; j < layer.kernel.width; ++j)
        taps_.push_back(integer(c * input.plane() + (i * layer.dilation.height - layer.padding.top) * input.row() +
                                (j * layer.dilation.width - layer.padding.left) * kLanes));
  tiles_ = weight_gradient_tiles(kernels, integer(outputs_), static_cast<int>(taps_.size()), output.positions());
  // With larger kernels, a tile reads most vectors several times, so they come from L1 anyway.
  if (layer.kernel.height * layer.kernel.width > 1) return;
  const auto rows_of = [&](int vectors, std::int64_t channels) {
    return std::clamp(vectors / (integer(channels) * columns_), 1, rows_);
  };
  rows_per_step_ = rows_of(kVectorsInL2, channels_ + outputs_);
  // If a vector has several registers (AVX2), a tile reads each cache line several times.
  if (kernels.vector_lanes < kLanes)
    rows_per_step_ = std::min(rows_per_step_, rows_of(kVectorsInL1, kVectorsPerPosition));
}

void DirectWeightGradient::add_rows(const WeightGradientTile& tile, IndexRange rows, View x, View d, float* sums,
                                    float* out, bool accumulate) const {
  WeightGradientArguments args{};
  args.d = d.data;
  args.d_plane = d.plane;
  args.d_row = d.row;
  args.x_row = x.row * stride_.height;
  args.x_step = kLanes * stride_.width;
  args.x = x.data + rows.first * args.x_row;
  args.taps = taps_.data() + tile.tap;
  args.rows = rows.count;
  args.columns = columns_;
  args.is_first = rows.first == 0;
  args.is_last = rows.first + rows.count == rows_;
  args.sums = sums;
  args.out_row = static_cast<std::int64_t>(taps_.size());
  args.out = out + tile.output * args.out_row + tile.tap;
  args.accumulate = accumulate;
  tile.kernel(args);
}

void DirectWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace, Part part) const {
  const int tiles = static_cast<int>(tiles_.size());
  const IndexRange own = part.of(integer(groups_) * tiles);
  const int end = own.first + own.count, per_step = integer(tiles_per_step());
  for (int first = own.first; first < end; first += per_step)
    for (int row = 0; row < rows_; row += rows_per_step_) {
      const IndexRange rows{row, std::min(rows_per_step_, rows_ - row)};
      for (int i = first; i < std::min(first + per_step, end); ++i) {
        const WeightGradientTile& tile = tiles_[static_cast<std::size_t>(i % tiles)];
        const std::int64_t group = i / tiles, first_output = group * outputs_;
        const View group_x = from_channel(x, group * channels_), group_d = from_channel(d, first_output + tile.output);
        add_rows(tile, rows, group_x, from_row(group_d, row), workspace + (i - first) * kTileSums,
                 out + first_output * static_cast<std::int64_t>(taps_.size()), accumulate);
      }
    }
}

}  // namespace mnistcnn::engine::lanes
