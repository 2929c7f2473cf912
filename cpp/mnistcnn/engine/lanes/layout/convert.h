#pragma once
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"

// Conversion between f32 [images, C, H, W] and the map of one block, [C][H][W][16]. Called by execution/batch_io.
namespace mnistcnn::engine::lanes {

// Copy 1 to 16 images into a map. Lanes without an image repeat the first one, so that they hold finite numbers.
void to_lanes(const KernelTable& kernels, const float* nchw, int images, const Extent& extent, const View& map);

// Copy the first `images` lanes of a map to images.
void from_lanes(const KernelTable& kernels, const View& map, const Extent& extent, int images, float* nchw);

}  // namespace mnistcnn::engine::lanes
