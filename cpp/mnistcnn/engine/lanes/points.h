#pragma once
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/value.h"

// What the ways with values at Winograd's points share.
namespace mnistcnn::engine::lanes {

inline void set_map(PointsTile& tile, View map, const Extent& extent) {
  tile.map = map.data;
  tile.map_plane = map.plane;
  tile.map_row = map.row;
  tile.channels = integer(extent.channels);
  tile.rows = integer(extent.rows);
  tile.columns = integer(extent.columns);
}

// Floats from point to point: an odd number of cache lines, else the points of a place would compete for a few sets.
constexpr std::int64_t odd_lines(std::int64_t vectors) { return (vectors | 1) * kLanes; }

// As nearly equal parts of at most `most`: how large.
constexpr int equal_part(int count, int most) {
  const int parts = (count + most - 1) / most;
  return (count + parts - 1) / parts;
}

}  // namespace mnistcnn::engine::lanes
