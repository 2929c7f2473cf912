#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Matrix product for linear layers, divided into register tiles. Called by ops/linear_ops.
namespace mnistcnn::engine::lanes {

// y[m][n] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + n], with m < rows, n < columns, k < depth.
// Strides are in floats. The order of the additions does not depend on the register tiles.
struct Gemm {
  static constexpr std::int64_t kMaxPackedRows = 48;

  std::int64_t rows, columns, depth;
  const float* a;
  std::int64_t a_row, a_step;
  const float* x;  // readable up to the next multiple of 16 columns
  std::int64_t x_row;
  float* y;
  std::int64_t y_row;
  bool accumulate = false;  // add to y
  // Copy `a` to contiguous memory in each pass over k, for a large a_step. Requires a_row 1 and at most kMaxPackedRows
  // rows.
  bool pack_a = false;
  bool stream_y = false;  // write y past the caches, for a y that no cache holds
};

void gemm(const KernelTable& kernels, const Gemm& problem);

}  // namespace mnistcnn::engine::lanes
