#include "mnistcnn/engine/lanes/float_rows.h"

#include <cstdint>

namespace mnistcnn::engine::lanes {
namespace {

// A map without a frame around it is one long row.
Extent unrolled(const Extent& extent, const View& view) {
  const bool is_dense = view.row == extent.columns * kLanes && view.plane == extent.rows * view.row;
  return is_dense ? Extent{1, 1, extent.elements()} : extent;
}

// The part of a row that is moved four columns and four images at a time.
std::int64_t quick_columns(const Extent& extent, int live) { return live == kLanes ? extent.columns / 4 * 4 : 0; }

// Calls with every row of a map: where it begins in an image, and in the lanes.
template <class Move>
void for_each_row(const Extent& extent, const View& view, const Move& move) {
  for (std::int64_t c = 0; c < extent.channels; ++c)
    for (std::int64_t h = 0; h < extent.rows; ++h)
      move((c * extent.rows + h) * extent.columns, view.data + c * view.plane + h * view.row);
}

}  // namespace

void rows_to_lanes(const KernelTable& kernels, const float* rows, int live, const Extent& extent, const View& to) {
  const Extent shape = unrolled(extent, to);
  const std::int64_t image = extent.elements(), quick = quick_columns(shape, live);
  for_each_row(shape, to, [&](std::int64_t begin, float* lanes) {
    kernels.transpose(rows + begin, image, kLanes, static_cast<int>(quick), lanes, kLanes);
    for (std::int64_t w = quick; w < shape.columns; ++w)
      for (int lane = 0; lane < kLanes; ++lane)
        lanes[w * kLanes + lane] = rows[(lane < live ? lane : 0) * image + begin + w];
  });
}

void lanes_to_rows(const KernelTable& kernels, const View& from, const Extent& extent, int live, float* rows) {
  const Extent shape = unrolled(extent, from);
  const std::int64_t image = extent.elements(), quick = quick_columns(shape, live);
  for_each_row(shape, from, [&](std::int64_t begin, const float* lanes) {
    kernels.transpose(lanes, kLanes, static_cast<int>(quick), kLanes, rows + begin, image);
    for (std::int64_t w = quick; w < shape.columns; ++w)
      for (int lane = 0; lane < live; ++lane) rows[lane * image + begin + w] = lanes[w * kLanes + lane];
  });
}

}  // namespace mnistcnn::engine::lanes
