#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Matrix product for linear layers, divided into register tiles. Called by ops/linear_ops.
namespace mnistcnn::engine::lanes {

// y[m][n] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + n], with m < rows, n < columns, k < depth. No
// operand is packed. Strides are in floats. The order of the additions does not depend on the register tiles.
struct Gemm {
  std::int64_t rows, columns, depth;
  const float* a;
  std::int64_t a_row, a_step;
  const float* x;  // readable up to the next multiple of 16 columns
  std::int64_t x_row;
  float* y;
  std::int64_t y_row;
  bool accumulate = false;  // add to y
  // For operands that no cache holds: prefetch a before it is used, write y past the caches.
  bool prefetch_a = false, stream_y = false;
};

void gemm(const KernelTable& kernels, const Gemm& problem);

}  // namespace mnistcnn::engine::lanes
