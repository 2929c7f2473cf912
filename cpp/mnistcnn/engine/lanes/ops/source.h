#pragma once
#include "mnistcnn/engine/lanes/ops/chain_op.h"

namespace mnistcnn::engine::lanes {

// What a convolution or a linear layer takes: a value as it lies in memory, or the output of a chain, which is computed
// into scratch memory each time it is needed.
struct Source {
  Value* value = nullptr;
  ChainOp* lazy = nullptr;

  const Extent& extent() const { return value->extent; }
};

// Zeros around a map that lies in memory with room for them.
struct Frame {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool empty() const { return top + bottom + left + right == 0; }
};

// A map's place in scratch memory: planes an odd number of cache lines apart, so that they don't compete for the same
// sets of the cache.
struct ScratchLayout {
  Extent extent;
  Frame frame;

  std::int64_t row() const { return (extent.columns + frame.left + frame.right) * kLanes; }
  std::int64_t plane() const {
    return ((extent.rows + frame.top + frame.bottom) * (extent.columns + frame.left + frame.right) | 1) * kLanes;
  }
  std::int64_t size() const { return extent.channels * plane(); }
  std::int64_t origin() const { return frame.top * row() + frame.left * kLanes; }
  View view(float* memory) const { return {memory + origin(), plane(), row()}; }
  void clear_frame(float* memory) const;
};

inline void ScratchLayout::clear_frame(float* memory) const {
  if (frame.empty()) return;
  const std::int64_t rows = extent.rows + frame.top + frame.bottom, last = rows - frame.bottom;
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    float* const plane_memory = memory + c * plane();
    std::fill_n(plane_memory, frame.top * row(), 0.0f);
    for (std::int64_t h = frame.top; h < last; ++h) {
      std::fill_n(plane_memory + h * row(), frame.left * kLanes, 0.0f);
      std::fill_n(plane_memory + (h + 1) * row() - frame.right * kLanes, frame.right * kLanes, 0.0f);
    }
    std::fill_n(plane_memory + last * row(), frame.bottom * row(), 0.0f);
  }
}

inline void copy_map(View from, View to, const Extent& extent) {
  for (std::int64_t c = 0; c < extent.channels; ++c)
    for (std::int64_t h = 0; h < extent.rows; ++h)
      std::copy_n(from.data + c * from.plane + h * from.row, extent.columns * kLanes,
                  to.data + c * to.plane + h * to.row);
}

}  // namespace mnistcnn::engine::lanes
