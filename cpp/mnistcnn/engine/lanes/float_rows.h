#pragma once
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/value.h"

// Floats as others have them, one image behind the other, and as the engine has them.
namespace mnistcnn::engine::lanes {

// `live` images into the map of a block. Lanes without an image repeat the first, so that they hold sane numbers.
void rows_to_lanes(const KernelTable& kernels, const float* rows, int live, const Extent& extent, const View& to);

// The map of a block to its `live` images.
void lanes_to_rows(const KernelTable& kernels, const View& from, const Extent& extent, int live, float* rows);

}  // namespace mnistcnn::engine::lanes
