#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/direct_convolution.h"
#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"

// 2-D Winograd F(4x4, 3x3) for the two gradients of 3x3 convolutions without stride: 36 instead of 144 multiplications
// per tile of 4 x 4 outputs and pair of channels. kernels/winograd_2d.h has the transforms and the paper. Called by
// ops/convolution_op.
namespace mnistcnn::engine::lanes {

// Groups of tiles whose domain fits the L2 budget.
struct TileGroups {
  struct Group {
    int row, column;    // of the first tile, in tiles
    int rows, columns;  // in tiles
    int tiles() const { return rows * columns; }
  };
  Group largest;
  std::vector<Group> each;
  int max_tiles() const { return largest.tiles(); }
};

// Input gradient of a convolution. `convolution` is the reversed one.
class Winograd2dInputGradient {
 public:
  Winograd2dInputGradient(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t packed_size() const { return 36 * domain_convolution_.packed_size(); }  // floats
  std::int64_t workspace_size() const;                                                 // floats
  int packing_tasks() const { return static_cast<int>(convolution_.out.channels); }
  std::int64_t packing_task_size() const { return 36 * convolution_.in.channels; }
  // weights: f32 [outputs][inputs][3][3] of the forward convolution.
  void pack(int task, const float* weights, float* packed) const;
  // `bias` is ignored. Parts are rows of tile groups.
  void run(View x, const float* packed, const float* bias, View y, float* workspace, Part part = {}) const;

 private:
  void multiply_in_domain(const float* inputs, const float* packed, float* outputs) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  TileGroups groups_;
  DirectConvolution domain_convolution_;  // the convolution at one point: 1x1, over a row of tiles
  std::vector<DirectConvolution::RegisterTile> register_tiles_;
};

// Weight gradient of a convolution.
class Winograd2dWeightGradient {
 public:
  static constexpr bool kPartsRepeatWork = true;

  Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t workspace_size() const;  // floats
  // out: f32 [outputs][channels][3][3]. Parts are output channels; each transforms all inputs.
  void run(View x, View d, float* out, bool accumulate, float* workspace, Part part = {}) const;

 private:
  void sum_in_domain(const PartOfOutputs& part, const float* inputs, const float* gradients, float* sums, int tiles,
                     bool accumulate) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  TileGroups groups_;
  std::vector<WeightGradientTile> register_tiles_;
  std::vector<std::int32_t> taps_;
};

}  // namespace mnistcnn::engine::lanes
