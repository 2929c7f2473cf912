#pragma once
#include "mnistcnn/engine/lanes/kernels/convolution.h"

// A tile of a matrix product with unpacked operands, for linear layers: kRows scalars of `a` are broadcast against
// kColumns vectors of `x`.
namespace mnistcnn::engine::lanes {
namespace {

template <int kRows, int kColumns>
void product(const ProductTile& t) {
  for (int part = 0; part < kParts; ++part) {
    vf sum[kRows][kColumns];
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) sum[m][j] = vf{};
    const float* a = t.a;
    const float* x = t.x + part * kWidth;
    const std::int64_t a_row = t.a_row;
    for (int k = t.depth; k > 0; --k, a += t.a_step, x += t.x_row) {
      vf image[kColumns];
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        image[j] = load(x + j * kLanes);
        keep(image[j]);
      }
#pragma GCC unroll 32
      for (int m = 0; m < kRows; ++m) {
        const vf weight = splat(a[m * a_row]);
#pragma GCC unroll 32
        for (int j = 0; j < kColumns; ++j) sum[m][j] = multiply_add(weight, image[j], sum[m][j]);
      }
      asm volatile("" ::: "memory");
    }
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        float* const y = t.y + m * t.y_row + j * kLanes + part * kWidth;
        store(y, t.accumulate ? load(y) + sum[m][j] : sum[m][j]);  // long sums in pieces lose fewer digits
      }
  }
}

template <int kRows, int... kColumns>
void list_product(KernelTable& table) {
  const auto one = [&]<int kColumn>() {
    if constexpr (fits(kRows, kColumn)) table.product[kRows][kColumn] = product<kRows, kColumn>;
  };
  (one.template operator()<kColumns>(), ...);
}

template <int... kRows>
void list_products(KernelTable& table) {
  (list_product<kRows, 1, 2, 3, 4, 6>(table), ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
