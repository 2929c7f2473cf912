#pragma once
#include "mnistcnn/engine/lanes/kernels/convolution.h"

// Register tile of a GEMM: outer products of kRows broadcast scalars of `a` and kColumns vectors of `x`. Called by
// gemm/gemm and conv/domain_gemm. Register blocking as in Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication", 2008.
namespace mnistcnn::engine::lanes {
namespace {

template <int kRows, int kColumns>
void gemm_kernel(const GemmArguments& arguments) {
  const GemmArguments args = arguments;  // local, see kernels/convolution.h
  for (int part = 0; part < kParts; ++part) {
    vf sum[kRows][kColumns];
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) sum[m][j] = vf{};
    const float* a = args.a;
    const float* x = args.x + part * kWidth;
    for (int k = args.depth; k > 0; --k, a += args.a_step, x += args.x_row) {
      vf image[kColumns];
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        image[j] = load(x + j * kLanes);
        keep(image[j]);
      }
#pragma GCC unroll 32
      for (int m = 0; m < kRows; ++m) {
        const vf weight = splat(a[m * args.a_row]);
#pragma GCC unroll 32
        for (int j = 0; j < kColumns; ++j) sum[m][j] = multiply_add(weight, image[j], sum[m][j]);
      }
      asm volatile("" ::: "memory");
    }
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 32
      for (int j = 0; j < kColumns; ++j) {
        float* const y = args.y + m * args.y_row + j * kLanes + part * kWidth;
        const vf total = args.accumulate ? load(y) + sum[m][j] : sum[m][j];  // long sums in passes lose fewer digits
        if (args.stream)
          stream(y, total);
        else
          store(y, total);
      }
  }
}

template <int kRows, int... kColumns>
void fill_gemm_rows(KernelTable& table) {
  const auto one = [&]<int kColumn>() {
    if constexpr (fits(kRows, kColumn)) table.gemm[kRows][kColumn] = gemm_kernel<kRows, kColumn>;
  };
  (one.template operator()<kColumns>(), ...);
}

template <int... kRows>
void fill_gemm(KernelTable& table) {
  (fill_gemm_rows<kRows, 1, 2, 3, 4, 6>(table), ...);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
