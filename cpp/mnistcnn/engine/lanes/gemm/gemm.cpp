#include "mnistcnn/engine/lanes/gemm/gemm.h"

#include <algorithm>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace mnistcnn::engine::lanes {
namespace {

constexpr std::int64_t kDepthPerPass = 128;  // L1 budget: 128 rows of 4 vectors of x are 32 KiB

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

// Compute all rows of a panel of `columns` vectors at x and y, for one pass over k that starts at first_k.
void column_panel(const KernelTable& kernels, const Gemm& p, const float* x, float* y, std::int64_t y_row,
                  TileShape shape, int columns, std::int64_t first_k) {
  GemmArguments args{};
  args.a_row = p.a_row;
  args.a_step = p.a_step;
  args.x = x + first_k * p.x_row;
  args.x_row = p.x_row;
  args.y_row = y_row;
  args.depth = static_cast<int>(std::min(kDepthPerPass, p.depth - first_k));
  if (p.prefetch_a && first_k + kDepthPerPass < p.depth) args.a_ahead = kDepthPerPass * p.a_step;
  args.accumulate = p.accumulate || first_k > 0;
  args.stream = can_stream(p);
  for (std::int64_t m = 0; m < p.rows;) {
    const int rows = largest_tile(kernels, p.rows - m, shape.rows, columns);
    args.a = p.a + m * p.a_row + first_k * p.a_step;
    args.y = y + m * y_row;
    kernels.gemm[rows][columns](args);
    m += rows;
  }
}

// Compute the last columns, fewer than a vector, in a buffer that holds whole vectors.
void remainder_panel(const KernelTable& kernels, const Gemm& p, std::int64_t column, TileShape shape) {
  const std::int64_t rest = p.columns - column;
  Gemm chunk = p;
  for (std::int64_t m = 0; m < p.rows; m += shape.rows) {
    alignas(64) float buffer[kMaxTileChannels][kLanes] = {};
    chunk.rows = std::min<std::int64_t>(shape.rows, p.rows - m);
    chunk.a = p.a + m * p.a_row;
    for (std::int64_t i = 0; p.accumulate && i < chunk.rows; ++i)
      std::copy_n(p.y + (m + i) * p.y_row + column, rest, buffer[i]);
    for (std::int64_t k = 0; k < p.depth; k += kDepthPerPass)
      column_panel(kernels, chunk, p.x + column, buffer[0], kLanes, shape, 1, k);
    for (std::int64_t i = 0; i < chunk.rows; ++i) std::copy_n(buffer[i], rest, p.y + (m + i) * p.y_row + column);
  }
}

}  // namespace

void gemm(const KernelTable& kernels, const Gemm& problem) {
  const std::int64_t vectors = problem.columns / kLanes;
  for (std::int64_t k = 0; k < problem.depth; k += kDepthPerPass)
    for (std::int64_t j = 0; j < vectors;) {
      const TileShape shape = tile_shape(kernels, vectors - j);
      const int columns = static_cast<int>(std::min<std::int64_t>(shape.columns, vectors - j));
      column_panel(kernels, problem, problem.x + j * kLanes, problem.y + j * kLanes, problem.y_row, shape, columns, k);
      j += columns;
    }
  if (problem.columns % kLanes != 0) remainder_panel(kernels, problem, vectors * kLanes, {8, 1});
  if (can_stream(problem)) finish_streaming();
}

}  // namespace mnistcnn::engine::lanes
