#include "mnistcnn/engine/lanes/layout/convert.h"

#include <cstdint>

namespace mnistcnn::engine::lanes {
namespace {

// A dense map is converted as a single row.
Extent flattened(const Extent& extent, const View& view) {
  const bool is_dense = view.row == extent.columns * kLanes && view.plane == extent.rows * view.row;
  return is_dense ? Extent{1, 1, extent.elements()} : extent;
}

// Number of columns that the transpose kernel converts: a multiple of 4, and none unless all 16 images exist.
std::int64_t kernel_columns(const Extent& extent, int images) { return images == kLanes ? extent.columns / 4 * 4 : 0; }

// Call visit(offset in an image, pointer into the map) for each row.
template <class Visit>
void for_each_row(const Extent& extent, const View& view, const Visit& visit) {
  for (std::int64_t c = 0; c < extent.channels; ++c)
    for (std::int64_t h = 0; h < extent.rows; ++h)
      visit((c * extent.rows + h) * extent.columns, view.data + c * view.plane + h * view.row);
}

}  // namespace

void to_lanes(const KernelTable& kernels, const float* nchw, int images, const Extent& extent, const View& map) {
  const Extent shape = flattened(extent, map);
  const std::int64_t image_size = extent.elements(), transposed = kernel_columns(shape, images);
  for_each_row(shape, map, [&](std::int64_t offset, float* row) {
    kernels.transpose(nchw + offset, image_size, kLanes, static_cast<int>(transposed), row, kLanes);
    for (std::int64_t w = transposed; w < shape.columns; ++w)
      for (int lane = 0; lane < kLanes; ++lane)
        row[w * kLanes + lane] = nchw[(lane < images ? lane : 0) * image_size + offset + w];
  });
}

void from_lanes(const KernelTable& kernels, const View& map, const Extent& extent, int images, float* nchw) {
  const Extent shape = flattened(extent, map);
  const std::int64_t image_size = extent.elements(), transposed = kernel_columns(shape, images);
  for_each_row(shape, map, [&](std::int64_t offset, const float* row) {
    kernels.transpose(row, kLanes, static_cast<int>(transposed), kLanes, nchw + offset, image_size);
    for (std::int64_t w = transposed; w < shape.columns; ++w)
      for (int lane = 0; lane < images; ++lane) nchw[lane * image_size + offset + w] = row[w * kLanes + lane];
  });
}

}  // namespace mnistcnn::engine::lanes
