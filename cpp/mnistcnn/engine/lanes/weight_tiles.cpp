#include "mnistcnn/engine/lanes/weight_tiles.h"

#include <algorithm>
#include <limits>

namespace mnistcnn::engine::lanes {
namespace {

std::vector<int> parts_of(int n, int most) {
  std::vector<int> parts;
  const int count = (n + most - 1) / most;
  for (int i = 0; i < count; ++i) parts.push_back(n / count + (i < n % count ? 1 : 0));
  return parts;
}

// Rough cycles: multiply-adds and loads, the lanes' sums, the call. Infinite where a kernel is missing.
double cost_of(const KernelTable& kernels, const std::vector<int>& outputs, const std::vector<int>& taps,
               double positions) {
  double cost = 0;
  for (const int a : outputs)
    for (const int b : taps) {
      if (kernels.weight_gradient[a][b] == nullptr) return std::numeric_limits<double>::infinity();
      cost += positions * std::max({a * b * 0.5, (a + b) * 0.5, 4.0}) + a * b * 3.0 + 30;
    }
  return cost;
}

}  // namespace

std::vector<WeightTile> weight_tiles(const KernelTable& kernels, int outputs, int taps, std::int64_t positions) {
  double best = std::numeric_limits<double>::infinity();
  std::vector<int> output_parts, tap_parts;
  for (int o = 1; o <= std::min(kMostTileChannels, outputs); ++o)
    for (int k = 1; k <= std::min(kMostTileTaps, taps); ++k) {
      const std::vector<int> a = parts_of(outputs, o), b = parts_of(taps, k);
      const double cost = cost_of(kernels, a, b, static_cast<double>(positions));
      if (cost >= best) continue;
      best = cost;
      output_parts = a;
      tap_parts = b;
    }
  std::vector<WeightTile> tiles;
  int output = 0;
  for (const int a : output_parts) {
    int tap = 0;
    for (const int b : tap_parts) {
      tiles.push_back({kernels.weight_gradient[a][b], output, tap});
      tap += b;
    }
    output += a;
  }
  return tiles;
}

}  // namespace mnistcnn::engine::lanes
