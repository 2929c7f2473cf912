#include "mnistcnn/engine/lanes/product.h"

#include <algorithm>

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kDepth = 128;  // 128 rows of 4 vectors are 32 KiB

struct TileShape {
  int rows, columns;
};

// Wide registers: 6 x 4; 16 registers: 6 x 2. A single column: as many rows as hide the latency.
TileShape shape_for(const KernelTable& kernels, std::int64_t columns) {
  if (columns == 1) return {8, 1};
  if (kernels.product[6][4] == nullptr) return {columns == 2 || columns > 3 ? 6 : 4, columns == 3 ? 3 : 2};
  if (columns == 6) return {4, 6};
  return columns >= 4 ? TileShape{6, 4} : TileShape{8, static_cast<int>(columns)};
}

int fitting(const KernelTable& kernels, std::int64_t rows, int most, int columns) {
  int best = static_cast<int>(std::min<std::int64_t>(rows, most));
  while (kernels.product[best][columns] == nullptr) --best;
  return best;
}

// All rows for `columns` vectors at x and y.
void column_strip(const KernelTable& kernels, const Product& p, const float* x, float* y, std::int64_t y_row,
                  TileShape shape, int columns, std::int64_t first_k, std::int64_t depth) {
  ProductTile t{};
  t.a_row = p.a_row;
  t.a_step = p.a_step;
  t.x = x + first_k * p.x_row;
  t.x_row = p.x_row;
  t.y_row = y_row;
  t.depth = static_cast<int>(depth);
  t.accumulate = p.accumulate || first_k > 0;
  for (std::int64_t m = 0; m < p.rows;) {
    const int rows = fitting(kernels, p.rows - m, shape.rows, columns);
    t.a = p.a + m * p.a_row + first_k * p.a_step;
    t.y = y + m * y_row;
    kernels.product[rows][columns](t);
    m += rows;
  }
}

// The last columns, where a whole vector would not fit into y.
void ragged_strip(const KernelTable& kernels, const Product& p, std::int64_t column, TileShape shape) {
  const std::int64_t rest = p.columns - column;
  Product part = p;
  for (std::int64_t m = 0; m < p.rows; m += shape.rows) {
    alignas(64) float buffer[kMostTileChannels][kLanes] = {};
    part.rows = std::min<std::int64_t>(shape.rows, p.rows - m);
    part.a = p.a + m * p.a_row;
    for (std::int64_t i = 0; p.accumulate && i < part.rows; ++i)
      std::copy_n(p.y + (m + i) * p.y_row + column, rest, buffer[i]);
    for (std::int64_t k = 0; k < p.depth; k += kDepth)
      column_strip(kernels, part, p.x + column, buffer[0], kLanes, shape, 1, k, std::min(kDepth, p.depth - k));
    for (std::int64_t i = 0; i < part.rows; ++i) std::copy_n(buffer[i], rest, p.y + (m + i) * p.y_row + column);
  }
}

}  // namespace

void multiply(const KernelTable& kernels, const Product& p) {
  const std::int64_t vectors = p.columns / kLanes;
  for (std::int64_t k = 0; k < p.depth; k += kDepth)
    for (std::int64_t j = 0; j < vectors;) {
      const TileShape shape = shape_for(kernels, vectors - j);
      int columns = static_cast<int>(std::min<std::int64_t>(shape.columns, vectors - j));
      column_strip(kernels, p, p.x + j * kLanes, p.y + j * kLanes, p.y_row, shape, columns, k,
                   std::min(kDepth, p.depth - k));
      j += columns;
    }
  if (p.columns % kLanes != 0) ragged_strip(kernels, p, vectors * kLanes, {8, 1});
}

}  // namespace mnistcnn::engine::lanes
