#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

namespace mnistcnn::engine::lanes {

// A register tile of weight gradients: some output channels by some taps.
struct WeightTile {
  WeightGradientKernel kernel;
  int output, tap;  // first of each
};

// Output channels x taps cut into tiles for a pass over a map of so many positions.
std::vector<WeightTile> weight_tiles(const KernelTable& kernels, int outputs, int taps, std::int64_t positions);

}  // namespace mnistcnn::engine::lanes
