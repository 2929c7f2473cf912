#pragma once
#include <array>

#include "mnistcnn/engine/lanes/conv/even_split.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"
#include "mnistcnn/engine/lanes/layout/map.h"

// Shapes of the 1-D and 2-D Winograd algorithms, and weight transforms of the 1-D one. Transforms evaluate inputs and
// weights, as polynomials, at interpolation points. The values form the Winograd domain, in which a convolution is one
// product per point.
namespace mnistcnn::engine::lanes {

// A 3x3 convolution without stride, dilation or groups.
struct Convolution3x3 {
  Extent in, out;
  int top = 0, left = 0;  // zero padding, at most 2

  // Return the convolution that computes the input gradient from the output gradient.
  Convolution3x3 reversed() const { return {out, in, 2 - top, 2 - left}; }
};

// The tiles of outputs of 2-D Winograd.
struct Tiling2d {
  Winograd2dKind kind;
  int rows, columns;  // of tiles

  Tiling2d(const Convolution3x3& convolution, Winograd2dKind which)
      : kind(which),
        rows(parts_of_split(integer(convolution.out.rows), size())),
        columns(parts_of_split(integer(convolution.out.columns), size())) {}
  int size() const { return kind == kTile3x3 ? 3 : 4; }  // rows and columns of outputs of a tile
  int tiles() const { return rows * columns; }
  int points() const { return (size() + 2) * (size() + 2); }  // of the domain
};

// What a convolution algorithm computes: outputs or input gradients.
enum class Direction { kForward, kInputGradient };

inline void set_map(WinogradArguments& args, View map, const Extent& extent) {
  args.map = map.data;
  args.map_plane = map.plane;
  args.map_row = map.row;
  args.channels = integer(extent.channels);
  args.rows = integer(extent.rows);
  args.columns = integer(extent.columns);
}

// Transform three weights at the points of kernels/winograd_transforms.h. In double, because a rounding error would
// enter every product; this takes little time, because weights are packed once per step. F43::weights_to_domain
// computes the same for the 2-D algorithm. This file cannot call it: headers of kernels are compiled once per
// instruction set.
inline std::array<double, 6> transform_f43(double first, double second, double third) {
  constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;
  const double even_a = first + 0.5 * third, odd_a = kA * second, even_b = first + 2 * third, odd_b = kB * second;
  return {
      first, (even_a + odd_a) * (-2.0 / 3), (even_a - odd_a) * (-2.0 / 3), (even_b + odd_b) / 6, (even_b - odd_b) / 6,
      third};
}

inline std::array<double, 4> transform_f23(double first, double second, double third) {
  const double even = 0.5 * (first + third), odd = 0.5 * second;
  return {first, even + odd, even - odd, third};
}

}  // namespace mnistcnn::engine::lanes
