#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Feature maps in memory: f32 [channels][rows][columns][16 images]. The 16 values of one position are a vector. All
// sizes, offsets and strides are in floats.
namespace mnistcnn::engine::lanes {

constexpr int integer(std::int64_t size) { return static_cast<int>(size); }  // for sizes that are known to fit
constexpr std::size_t to_size(std::int64_t index) { return static_cast<std::size_t>(index); }
// Round up to whole vectors.
constexpr std::int64_t whole_vectors(std::int64_t floats) { return (floats + kLanes - 1) / kLanes * kLanes; }

// Stride between planes of `vectors` vectors: rounded up to an odd number of cache lines. Planes at a multiple of 4 KiB
// would compete for the same cache sets.
constexpr std::int64_t odd_cache_lines(std::int64_t vectors) { return (vectors | 1) * kLanes; }

// Shape of a map. A flat tensor has one row and one column.
struct Extent {
  std::int64_t channels = 1, rows = 1, columns = 1;
  std::int64_t positions() const { return rows * columns; }
  std::int64_t elements() const { return channels * positions(); }
};

// Strided view of a map: adjacent columns, channel stride `plane`, row stride `row`.
struct View {
  float* data = nullptr;
  std::int64_t plane = 0, row = 0;
};

// Return the view of the channels from `first` on.
inline View from_channel(View view, std::int64_t first) {
  return {view.data + first * view.plane, view.plane, view.row};
}

// Return the view of the rows from `first` on.
inline View from_row(View view, std::int64_t first) { return {view.data + first * view.row, view.plane, view.row}; }

inline View dense_view(float* data, const Extent& extent) {
  return {data, extent.positions() * kLanes, extent.columns * kLanes};
}

inline void copy_map(View from, View to, const Extent& extent) {
  for (std::int64_t c = 0; c < extent.channels; ++c)
    for (std::int64_t h = 0; h < extent.rows; ++h)
      std::copy_n(from.data + c * from.plane + h * from.row, extent.columns * kLanes,
                  to.data + c * to.plane + h * to.row);
}

// Zero padding, in positions.
struct Padding {
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool empty() const { return top + bottom + left + right == 0; }
};

// Memory layout of a map surrounded by zero padding.
struct PaddedLayout {
  Extent extent;
  Padding padding;

  std::int64_t row() const { return (extent.columns + padding.left + padding.right) * kLanes; }
  std::int64_t plane() const {
    return odd_cache_lines((extent.rows + padding.top + padding.bottom) *
                           (extent.columns + padding.left + padding.right));
  }
  std::int64_t size() const { return extent.channels * plane(); }
  std::int64_t origin() const { return padding.top * row() + padding.left * kLanes; }
  View view(float* memory) const { return {memory + origin(), plane(), row()}; }

  // Return the layout of some of the channels.
  PaddedLayout with_channels(std::int64_t channels) const { return {{channels, extent.rows, extent.columns}, padding}; }

  // Set the padding to zero, without changing the map.
  void clear_padding(float* memory) const {
    if (padding.empty()) return;
    const std::int64_t rows = extent.rows + padding.top + padding.bottom, end = rows - padding.bottom;
    for (std::int64_t c = 0; c < extent.channels; ++c) {
      float* const channel = memory + c * plane();
      std::fill_n(channel, padding.top * row(), 0.0f);
      for (std::int64_t h = padding.top; h < end; ++h) {
        std::fill_n(channel + h * row(), padding.left * kLanes, 0.0f);
        std::fill_n(channel + (h + 1) * row() - padding.right * kLanes, padding.right * kLanes, 0.0f);
      }
      std::fill_n(channel + end * row(), padding.bottom * row(), 0.0f);
    }
  }
};

}  // namespace mnistcnn::engine::lanes
