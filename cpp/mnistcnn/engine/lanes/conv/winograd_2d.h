#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/direct_convolution.h"
#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"

// 2-D Winograd F(4x4, 3x3) for the two gradients of 3x3 convolutions: 36 instead of 144 multiplications per tile of
// 4 x 4 outputs. See kernels/winograd_2d.h for the transforms.
namespace mnistcnn::engine::lanes {

// Tiles are processed in groups whose Winograd domain stays in L2.
struct TileGroups {
  struct Group {
    int row, column;    // of its first tile
    int rows, columns;  // in tiles
    int tiles() const { return rows * columns; }
  };
  Group largest;
  std::vector<Group> each;
  int max_tiles() const { return largest.tiles(); }
};

// The input gradient. `convolution` is the reversed one: from the outputs of the forward convolution to its inputs.
class Winograd2dInputGradient {
 public:
  Winograd2dInputGradient(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t packed_size() const { return 36 * domain_convolution_.packed_size(); }  // floats
  std::int64_t workspace_size() const;                                                 // floats
  int packing_tasks() const { return static_cast<int>(convolution_.out.channels); }
  std::int64_t packing_task_size() const { return 36 * convolution_.in.channels; }
  // weights: f32 [outputs][inputs][3][3] of the forward convolution.
  void pack(int task, const float* weights, float* packed) const;
  void run(View x, const float* packed, const float* bias, View y, float* workspace) const;  // bias is ignored

 private:
  void multiply_in_domain(const float* inputs, const float* packed, float* outputs) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  TileGroups groups_;
  DirectConvolution domain_convolution_;  // at one point: 1x1, over a row of tiles
  std::vector<DirectConvolution::RegisterTile> register_tiles_;
};

class Winograd2dWeightGradient {
 public:
  Winograd2dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution);

  std::int64_t workspace_size() const;  // floats
  // out: f32 [outputs][channels][3][3]
  void run(View x, View d, float* out, bool accumulate, float* workspace) const;

 private:
  void sum_in_domain(const float* inputs, const float* gradients, float* sums, int tiles, bool accumulate) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  TileGroups groups_;
  std::vector<WeightGradientTile> register_tiles_;
  std::vector<std::int32_t> taps_;
};

}  // namespace mnistcnn::engine::lanes
