#include "mnistcnn/engine/lanes/conv/domain_gemm.h"

#include <algorithm>

#include "mnistcnn/engine/lanes/layout/map.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kDomainDepthPerPass = 64;  // L1 budget: 64 rows of a panel are 16 KiB

// Return the rows of a register tile with `columns` vectors: 24 sums with 32 registers, up to 12 with 16.
int tile_rows(const KernelTable& kernels, int columns) {
  if (kernels.gemm[6][4] != nullptr) return columns == 4 ? 6 : 8;
  return columns == 1 ? 8 : columns == 2 ? 6 : 4;
}

// Prefetch `vectors` vectors of each of `rows` rows. The rows of a matrix are far apart in memory, so the hardware does
// not prefetch them.
void prefetch_rows(const float* first, std::int64_t row, int rows, int vectors) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors; ++j) __builtin_prefetch(first + i * row + j * kLanes);
}

// Compute all rows of a panel, and prefetch the rows `next_x` of the next panel meanwhile. The kernels of instruction
// sets with 16 registers have no more than three columns.
void multiply_panel(const KernelTable& kernels, GemmArguments args, int rows, int columns, const float* next_x) {
  const float *const a = args.a, *const x = args.x;
  float* const y = args.y;
  const int widest = columns == 4 && kernels.gemm[6][4] == nullptr ? 2 : columns;
  const int height = tile_rows(kernels, widest), rows_per_tile = args.depth * height / rows + 1;
  for (int m = 0, prefetched = 0; m < rows; prefetched += rows_per_tile) {
    int count = std::min(height, rows - m);
    while (kernels.gemm[count][widest] == nullptr) --count;
    const int next = m + count, next_count = std::min(height, rows - next);
    if (args.a_step == 1) prefetch_rows(a + next * args.a_row, args.a_row, next_count, (args.depth + 15) / kLanes);
    prefetch_rows(y + next * args.y_row, args.y_row, next_count, columns);
    if (next_x != nullptr)
      prefetch_rows(next_x + prefetched * args.x_row, args.x_row, std::min(rows_per_tile, args.depth - prefetched),
                    columns);
    args.a = a + m * args.a_row;
    for (int j = 0; j < columns; j += widest) {
      args.x = x + j * kLanes;
      args.y = y + m * args.y_row + j * kLanes;
      kernels.gemm[count][widest](args);
    }
    m = next;
  }
}

}  // namespace

void multiply_in_domain(const KernelTable& kernels, int point, const DomainWeights& weights, IndexRange rows,
                        const Winograd2dDomain& in, const float* x, const Winograd2dDomain& out, float* y) {
  GemmArguments args{};
  args.a_row = weights.row;
  args.a_step = weights.step;
  for (std::int64_t k = 0; k < in.channels; k += kDomainDepthPerPass) {
    args.a = weights.data + rows.first * weights.row + k * weights.step;
    args.depth = static_cast<int>(std::min<std::int64_t>(kDomainDepthPerPass, in.channels - k));
    args.accumulate = k > 0;
    for (std::int64_t tile = 0; tile < in.tiles; tile += kPanelTiles) {
      const Winograd2dDomain::Panel from = in.panel(tile), to = out.panel(tile);
      args.x_row = args.y_row = from.channel_stride();
      args.x = x + from.offset + point * from.point_stride() + k * args.x_row;
      args.y = y + to.offset + point * to.point_stride() + rows.first * args.y_row;
      const std::int64_t next = tile + kPanelTiles;
      const float* const next_x =
          next < in.tiles ? x + in.panel(next).offset + point * in.panel(next).point_stride() + k * args.x_row
                          : nullptr;
      multiply_panel(kernels, args, rows.count, from.tiles, next_x);
    }
  }
}

void sum_with_transpose(const KernelTable& kernels, int point, const Winograd2dDomain& out, const float* d,
                        const Winograd2dDomain& in, const float* x, IndexRange channels, const DomainSums& sums,
                        float* scratch) {
  const int vectors = integer(whole_vectors(channels.count)) / kLanes, padded = vectors * kLanes,
            fours = channels.count / 4 * 4;
  GemmArguments args{};
  args.a_step = 1;
  args.x = scratch;
  args.x_row = padded;
  args.y = sums.data + channels.first;
  args.y_row = sums.row;
  for (std::int64_t tile = 0; tile < in.tiles; tile += kPanelTiles) {
    const Winograd2dDomain::Panel panel = in.panel(tile), gradients = out.panel(tile);
    const std::int64_t stride = panel.channel_stride();
    args.depth = panel.tiles * kLanes;
    const float* const from = x + panel.offset + point * panel.point_stride() + channels.first * stride;
    kernels.transpose(from, stride, fours, args.depth, scratch, padded);
    for (int c = fours; c < channels.count; ++c)
      for (int k = 0; k < args.depth; ++k) scratch[k * padded + c] = from[c * stride + k];
    args.a = d + gradients.offset + point * gradients.point_stride();
    args.a_row = gradients.channel_stride();
    args.accumulate = sums.accumulate || tile > 0;
    multiply_panel(kernels, args, integer(out.channels), vectors, nullptr);
  }
}

LaneSums::LaneSums(const KernelTable& kernels, std::int64_t channels, std::int64_t outputs,
                   const std::vector<TileGroup2d>& groups) {
  int max_tiles = 0;
  for (const TileGroup2d& group : groups) {
    max_tiles = std::max(max_tiles, group.tiles());
    const Winograd2dDomain::Panel panel{0, group.points(), group.tiles()};
    taps_.emplace_back();
    for (std::int64_t c = 0; c < channels; ++c) taps_.back().push_back(integer(c * panel.channel_stride()));
  }
  register_tiles_ = weight_gradient_tiles(kernels, integer(outputs), integer(channels), max_tiles);
}

void LaneSums::run(int group, int point, const Winograd2dDomain& out, const float* d, const Winograd2dDomain& in,
                   const float* x, const DomainSums& sums) const {
  const Winograd2dDomain::Panel panel = in.panel(0);
  WeightGradientArguments args{};
  args.x = x + point * panel.point_stride();
  args.x_step = kLanes;
  args.d_plane = out.panel(0).channel_stride();
  args.rows = 1;
  args.is_first = args.is_last = true;
  args.columns = panel.tiles;
  args.out_row = sums.row;
  args.accumulate = sums.accumulate;
  for (const WeightGradientTile& each : register_tiles_) {
    args.d = d + point * panel.point_stride() + each.output * args.d_plane;
    args.taps = taps_[to_size(group)].data() + each.tap;
    args.out = sums.data + each.output * sums.row + each.tap;
    each.kernel(args);
  }
}

}  // namespace mnistcnn::engine::lanes
