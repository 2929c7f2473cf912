#include "mnistcnn/engine/lanes/gemm/gemm.h"

#include <algorithm>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kDepthPerPass = 128;  // L1 budget: 128 rows of 4 vectors of x are 32 KiB
constexpr std::int64_t kMaxSums = 24;        // of a register tile, in vectors

struct TileShape {
  int rows, columns;  // columns in vectors
};

// Return the shape for the next columns: 6 x 4 with 32 registers, 6 x 2 with 16. One column needs 8 rows to hide the
// latency of the multiply-adds.
TileShape tile_shape(const KernelTable& kernels, std::int64_t columns) {
  if (columns == 1) return {8, 1};
  if (kernels.gemm[6][4] == nullptr) return {columns == 2 || columns > 3 ? 6 : 4, columns == 3 ? 3 : 2};
  if (columns == 6) return {4, 6};
  return columns >= 4 ? TileShape{6, 4} : TileShape{8, static_cast<int>(columns)};
}

int largest_tile(const KernelTable& kernels, std::int64_t rows, int max_rows, int columns) {
  int best = static_cast<int>(std::min<std::int64_t>(rows, max_rows));
  while (kernels.gemm[best][columns] == nullptr) --best;
  return best;
}

// Whether y can be written past the caches: whole cache lines, in one pass over k.
bool can_stream(const Gemm& p) {
  return p.stream_y && !p.accumulate && p.depth <= kDepthPerPass && p.columns % kLanes == 0 && p.y_row % kLanes == 0 &&
         reinterpret_cast<std::uintptr_t>(p.y) % (kLanes * sizeof(float)) == 0;
}

// Order the stores past the caches before all later stores, such as the one that ends a task.
void finish_streaming() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Return the arguments of the kernels for the pass over k that starts at first_k.
GemmArguments pass_arguments(const Gemm& p, std::int64_t first_k) {
  GemmArguments args{};
  args.a = p.a + first_k * p.a_step;
  args.a_row = p.a_row;
  args.a_step = p.a_step;
  args.x = p.x + first_k * p.x_row;
  args.x_row = p.x_row;
  args.y = p.y;
  args.y_row = p.y_row;
  args.depth = static_cast<int>(std::min(kDepthPerPass, p.depth - first_k));
  args.accumulate = p.accumulate || first_k > 0;
  args.stream = can_stream(p);
  return args;
}

// The part of `a` that the next pass reads. A few of its steps are prefetched into L2 before each register tile.
struct NextPartOfA {
  const float* a = nullptr;
  std::int64_t a_step = 0, rows = 0, depth = 0, steps_per_tile = 0, prefetched = 0;

  void prefetch() {
    for (const std::int64_t end = std::min(depth, prefetched + steps_per_tile); prefetched < end; ++prefetched) {
      const float* const step = a + prefetched * a_step;
      for (std::int64_t m = 0; m < rows; m += kLanes) __builtin_prefetch(step + m, 0, 2);
      __builtin_prefetch(step + rows - 1, 0, 2);  // the rows may begin inside a cache line
    }
  }
};

// Compute all rows of a panel of `columns` vectors at args.x and args.y.
void column_panel(const KernelTable& kernels, GemmArguments args, std::int64_t rows, TileShape shape, int columns,
                  NextPartOfA& next) {
  for (std::int64_t m = 0; m < rows;) {
    next.prefetch();
    const int count = largest_tile(kernels, rows - m, shape.rows, columns);
    kernels.gemm[count][columns](args);
    m += count;
    args.a += count * args.a_row;
    args.y += count * args.y_row;
  }
}

// Compute the last columns, fewer than a vector, in a buffer that holds whole vectors.
void remainder_panel(const KernelTable& kernels, GemmArguments args, std::int64_t rows, std::int64_t columns) {
  constexpr TileShape kShape{8, 1};
  for (std::int64_t m = 0; m < rows; m += kShape.rows) {
    alignas(64) float buffer[kShape.rows][kLanes] = {};
    const std::int64_t count = std::min<std::int64_t>(kShape.rows, rows - m);
    float* const y = args.y + m * args.y_row;
    for (std::int64_t i = 0; args.accumulate && i < count; ++i) std::copy_n(y + i * args.y_row, columns, buffer[i]);
    GemmArguments tile = args;
    tile.a += m * args.a_row;
    tile.y = buffer[0];
    tile.y_row = kLanes;
    NextPartOfA none;
    column_panel(kernels, tile, count, kShape, 1, none);
    for (std::int64_t i = 0; i < count; ++i) std::copy_n(buffer[i], columns, y + i * args.y_row);
  }
}

// Compute one pass over k.
void run_pass(const KernelTable& kernels, const Gemm& p, GemmArguments args, NextPartOfA next) {
  const std::int64_t vectors = p.columns / kLanes;
  for (std::int64_t j = 0; j < vectors;) {
    const TileShape shape = tile_shape(kernels, vectors - j);
    const int columns = static_cast<int>(std::min<std::int64_t>(shape.columns, vectors - j));
    column_panel(kernels, args, p.rows, shape, columns, next);
    j += columns;
    args.x += columns * kLanes;
    args.y += columns * kLanes;
  }
  if (p.columns % kLanes != 0) remainder_panel(kernels, args, p.rows, p.columns % kLanes);
}

// Compute all passes, each with a packed copy of its part of `a`, f32 [k][rows]. The steps of `a` are far apart: their
// cache lines compete for the same sets, and each may be on another page.
void run_packed_passes(const KernelTable& kernels, const Gemm& p) {
  alignas(64) float packed[kDepthPerPass * Gemm::kMaxPackedRows];
  for (std::int64_t k = 0; k < p.depth; k += kDepthPerPass) {
    GemmArguments args = pass_arguments(p, k);
    for (std::int64_t i = 0; i < args.depth; ++i) std::copy_n(args.a + i * p.a_step, p.rows, packed + i * p.rows);
    NextPartOfA next;
    if (const std::int64_t rest = p.depth - k - args.depth; rest > 0) {
      const std::int64_t depth = std::min(rest, kDepthPerPass);
      next = {args.a + args.depth * p.a_step, p.a_step, p.rows, depth,
              kMaxSums * kLanes * depth / (p.rows * p.columns) + 1};
    }
    args.a = packed;
    args.a_step = p.rows;
    run_pass(kernels, p, args, next);
  }
}

}  // namespace

void gemm(const KernelTable& kernels, const Gemm& problem) {
  if (problem.pack_a && problem.a_row == 1 && problem.rows <= Gemm::kMaxPackedRows) {
    run_packed_passes(kernels, problem);
  } else {
    for (std::int64_t k = 0; k < problem.depth; k += kDepthPerPass)
      run_pass(kernels, problem, pass_arguments(problem, k), {});
  }
  if (can_stream(problem)) finish_streaming();
}

}  // namespace mnistcnn::engine::lanes
