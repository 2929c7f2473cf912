#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "mnistcnn/engine/lanes/conv/domain_gemm.h"
#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// 2-D Winograd F(4x4, 3x3) for 3x3 convolutions without stride: 36 instead of 144 multiplications per tile of 4 x 4
// outputs and pair of channels. Tiles at the edge are smaller and have fewer points. kernels/winograd_2d.h has the
// transforms and the paper. Called by ops/convolution_op.
//
// The input gradient is the transposed forward pass: it has the tiles of the outputs, and its tiles of input gradients
// overlap.
namespace mnistcnn::engine::lanes {

// Return the arguments of a transform between a map and the group's tiles in a domain, beginning at `first_tile`.
Winograd2dArguments transform_arguments(View map, const Extent& extent, const TileGroup2d& group,
                                        const Winograd2dDomain& domain, float* memory, std::int64_t first_tile = 0);
// The same for inputs or input gradients of a convolution, whose tiles may begin in the padding.
Winograd2dArguments input_transform_arguments(View map, const Convolution3x3& convolution, const TileGroup2d& group,
                                              const Winograd2dDomain& domain, float* memory,
                                              std::int64_t first_tile = 0);

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
  // The second half of `run` for a group of tiles: multiply their transformed values in `from_domain` by the weights,
  // into the memory `to_domain`, and write their part of y. Groups must be computed in their order.
  void multiply(const TileGroup2d& group, const float* from_domain, const float* packed, const float* bias, View y,
                float* to_domain) const;

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

  // The steps of `run`: add_group for each group of tiles, in order, then `write`. If `shares_domains`, the input
  // gradient can use the transformed output gradients of a group, and overwrite its transformed inputs.
  struct Domains {
    float *inputs, *gradients;  // the transformed values of a group
  };
  bool shares_domains() const { return !lane_sums_; }
  int groups() const { return static_cast<int>(groups_.size()); }
  const TileGroup2d& group(int index) const { return groups_[to_size(index)]; }
  IndexRange all_outputs() const { return {0, integer(convolution_.out.channels)}; }
  Domains add_group(int group, View x, View d, IndexRange outputs, float* workspace) const;
  void write(const float* workspace, IndexRange outputs, float* out, bool accumulate) const;

 private:
  // The sums are f32 [points][outputs][row].
  std::int64_t row() const { return whole_vectors(convolution_.in.channels); }

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  Tiling2d tiling_;
  std::vector<TileGroup2d> groups_;
  std::optional<LaneSums> lane_sums_;  // used for few input channels
};

}  // namespace mnistcnn::engine::lanes
