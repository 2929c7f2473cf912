#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

namespace mnistcnn::engine::lanes {

// y[m][n] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + n], cut into register tiles and into pieces of k
// whose rows of x stay in the near cache. The sums don't depend on the cut.
struct Product {
  std::int64_t rows, columns, depth;  // m, n, k
  const float* a;
  std::int64_t a_row, a_step;
  const float* x;  // readable up to the next multiple of 16 columns
  std::int64_t x_row;
  float* y;
  std::int64_t y_row;
  bool accumulate = false;
};

void multiply(const KernelTable& kernels, const Product& product);

}  // namespace mnistcnn::engine::lanes
