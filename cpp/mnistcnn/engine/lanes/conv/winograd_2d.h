#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "mnistcnn/engine/lanes/conv/domain_gemm.h"
#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// 2-D Winograd F(4x4, 3x3) for 3x3 convolutions without stride: 36 instead of 144 multiplications per tile of 4 x 4
// outputs and pair of channels. kernels/winograd_2d.h has the transforms and the paper. Called by ops/convolution_op.
//
// The input gradient is the transposed forward pass: it has the tiles of the outputs, and its 6 x 6 tiles of input
// gradients overlap.
namespace mnistcnn::engine::lanes {

// Group of tiles, in tiles.
struct TileGroup2d {
  int row, column;  // of the first tile
  int rows, columns;
  int tiles() const { return rows * columns; }
};

// Return the arguments of a transform between a map and the group's tiles in a domain, beginning at `first_tile`.
Winograd2dArguments transform_arguments(View map, const Extent& extent, const TileGroup2d& group,
                                        const Winograd2dDomain& domain, float* memory, std::int64_t first_tile = 0);

// Outputs of a convolution, or its input gradient.
class Winograd2dConvolution {
 public:
  Winograd2dConvolution(const KernelTable& kernels, const Convolution3x3& convolution, Direction direction);

  std::int64_t packed_size() const { return tiling_.points() * point_weights(); }  // floats
  std::int64_t workspace_size() const;                                             // floats
  int packing_tasks() const { return integer(to().channels); }
  std::int64_t packing_task_size() const { return tiling_.points() * from().channels; }
  // weights: f32 [outputs][inputs][3][3] of the forward convolution, for both directions.
  void pack(int task, const float* weights, float* packed) const;
  // Parts are groups of tiles; the first part computes a whole input gradient, because its tiles overlap.
  void run(View x, const float* packed, const float* bias, View y, float* workspace, Part part = {}) const;

 private:
  bool is_forward() const { return direction_ == Direction::kForward; }
  const Extent& from() const { return is_forward() ? convolution_.in : convolution_.out; }
  const Extent& to() const { return is_forward() ? convolution_.out : convolution_.in; }
  // The packed weights are f32 [points][rows of `to`][row].
  std::int64_t row() const { return odd_cache_lines(whole_vectors(from().channels) / kLanes); }
  std::int64_t point_weights() const { return to().channels * row(); }

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  Tiling2d tiling_;
  Direction direction_;
  std::vector<TileGroup2d> groups_;
  int max_tiles_;  // of a group
};

// Weight gradients with fewer input channels keep the images in the lanes: a transpose would leave lanes unused.
inline constexpr std::int64_t kMinTransposedChannels = 16;

// Weight gradient of a convolution.
class Winograd2dWeightGradient {
 public:
  static constexpr bool kPartsRepeatWork = true;

  Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t workspace_size() const;  // floats
  // out: f32 [outputs][channels][3][3]. Parts are output channels, and each transforms all inputs; with few channels,
  // the first part computes everything.
  void run(View x, View d, float* out, bool accumulate, float* workspace, Part part = {}) const;

 private:
  void sum(int point, const Winograd2dDomain& in, const float* x, const Winograd2dDomain& out, const float* d,
           const DomainSums& sums, float* scratch) const;

  std::int64_t row() const { return whole_vectors(convolution_.in.channels); }  // of the sums f32 [36][outputs][row]

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  Tiling2d tiling_;
  std::vector<TileGroup2d> groups_;
  int max_tiles_;                      // of a group
  std::optional<LaneSums> lane_sums_;  // used for few input channels
};

}  // namespace mnistcnn::engine::lanes
