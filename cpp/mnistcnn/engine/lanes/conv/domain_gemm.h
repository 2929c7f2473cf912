#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"

// Matrix products at one point of the 2-D Winograd domain, in register tiles of KernelTable::gemm. Called by
// conv/winograd_2d and conv/winograd_2d_batch.
namespace mnistcnn::engine::lanes {

inline constexpr int kPanelTiles = 4;  // of a domain whose values are multiplied by GEMM

// The layout of a number of tiles in the domain, see Winograd2dArguments. The values of all points of a tile are close
// to each other, so that transforms write and read adjacent memory.
struct Winograd2dDomain {
  // Tiles in one panel, and strides in floats.
  struct Panel {
    std::int64_t offset;
    int points, tiles;
    std::int64_t point_stride() const { return tiles * kLanes; }
    std::int64_t channel_stride() const { return (points * tiles + 1) * kLanes; }
  };

  int points = 0;
  std::int64_t channels = 0, tiles = 0;
  std::int64_t panel_tiles = kPanelTiles;

  // Floats. The domain of several blocks is not larger than the domains of its blocks.
  std::int64_t size() const { return channels * tiles * (points + 1) * kLanes; }
  Panel panel(std::int64_t first_tile) const {
    return {first_tile / panel_tiles * channels * (points * panel_tiles + 1) * kLanes, points,
            static_cast<int>(std::min(panel_tiles, tiles - first_tile))};
  }
};

// Weights at one point: row m, channel k at data[m * row + k * step].
struct DomainWeights {
  const float* data;
  std::int64_t row, step;
};

// y[m] = sum over channels k of weights[m][k] * x[k] at a point, for the given rows m.
void multiply_in_domain(const KernelTable& kernels, int point, const DomainWeights& weights, IndexRange rows,
                        const Winograd2dDomain& in, const float* x, const Winograd2dDomain& out, float* y);

// The sums of a weight gradient at one point: f32 [outputs][row]. Rows are whole vectors.
struct DomainSums {
  float* data;
  std::int64_t row;
  bool accumulate;
};

inline constexpr int kMaxSumChannels = 64;
inline constexpr std::int64_t kSumScratch = kMaxSumChannels * kPanelTiles * kLanes;  // floats

// sums[o][c] (+)= sum over tiles and images of d[o] * x[c] at a point, for all outputs o and the given channels c: at
// most kMaxSumChannels, beginning at a multiple of 16. A GEMM with the channels in the lanes, for which x is transposed
// to scratch memory, f32 [kSumScratch]. The elements of `sums` after the last channel are overwritten.
void sum_with_transpose(const KernelTable& kernels, int point, const Winograd2dDomain& out, const float* d,
                        const Winograd2dDomain& in, const float* x, IndexRange channels, const DomainSums& sums,
                        float* scratch);

// The same sums over domains of one panel each, with the images in the lanes, which are added at the end. Faster for
// few channels, as nothing is transposed and no lanes are unused.
class LaneSums {
 public:
  // groups: the tiles of each domain.
  LaneSums(const KernelTable& kernels, std::int64_t channels, std::int64_t outputs,
           const std::vector<TileGroup2d>& groups);
  void run(int group, int point, const Winograd2dDomain& out, const float* d, const Winograd2dDomain& in,
           const float* x, const DomainSums& sums) const;

 private:
  std::vector<WeightGradientTile> register_tiles_;
  std::vector<std::vector<std::int32_t>> taps_;  // [group][channel]: offset of the channel in the panel
};

}  // namespace mnistcnn::engine::lanes
