#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"
#include "mnistcnn/network/layers.h"

namespace mnistcnn::engine::lanes {

// A register tile of a weight gradient: some output channels x some taps. A tap is an (input channel, kernel position).
struct WeightGradientTile {
  WeightGradientKernel kernel;
  int output, tap;  // the first of each
};

// Cut output channels x taps into the tiles that a cost model finds fastest for maps of so many positions.
std::vector<WeightGradientTile> weight_gradient_tiles(const KernelTable& kernels, int outputs, int taps,
                                                      std::int64_t positions);

// The weight gradient of any convolution as a direct sum over the positions of the map, then over the images.
class DirectWeightGradient {
 public:
  // input: the layout of the padded input.
  DirectWeightGradient(const KernelTable& kernels, const network::Conv2d& layer, const PaddedLayout& input,
                       const Extent& output);

  std::int64_t workspace_size() const { return 0; }
  // x: padded input, d: gradient of the output -> out: f32 [outputs][channels of a group][kernel rows][kernel columns]
  void run(View x, View d, float* out, bool accumulate, float* workspace) const;

 private:
  std::int64_t groups_, channels_, outputs_;  // channels and outputs of one group
  network::Pair stride_;
  int rows_, columns_;                     // of the output
  std::vector<WeightGradientTile> tiles_;  // of one group
  std::vector<std::int32_t> taps_;         // offset of each tap in the input
};

}  // namespace mnistcnn::engine::lanes
