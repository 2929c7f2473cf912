#pragma once
#include <array>
#include <vector>

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

// Tiles of the same size along one axis.
struct TileRange {
  int first, size, count;  // first output, outputs per tile, tiles

  int points() const { return size + 2; }  // of a tile in the domain
};

// Divide an axis into as few tiles as possible, the largest first. Tiles have four outputs, and the last ones may be
// outside the map. If shorter tiles are allowed, the last two have two to four outputs, all inside the map, except that
// a single output has a tile of two.
inline std::vector<TileRange> tile_ranges(int outputs, bool allow_shorter) {
  if (!allow_shorter) return {{0, 4, (outputs + 3) / 4}};
  const int left = outputs % 4, threes = left == 3 || (left == 1 && outputs > 1) ? 1 : 0,
            twos = left == 1 || left == 2 ? 1 : 0, fours = (outputs - 3 * threes) / 4;
  std::vector<TileRange> ranges;
  if (fours > 0) ranges.push_back({0, 4, fours});
  if (threes > 0) ranges.push_back({4 * fours, 3, threes});
  if (twos > 0) ranges.push_back({4 * fours + 3 * threes, 2, twos});
  return ranges;
}

// Tiles of one size that 2-D Winograd transforms together.
struct TileGroup2d {
  TileRange rows, columns;

  int tiles() const { return rows.count * columns.count; }
  int points() const { return rows.points() * columns.points(); }
};

// The tiles of outputs of 2-D Winograd. The first tile is the largest, and has all points that other tiles have.
class Tiling2d {
 public:
  explicit Tiling2d(const Convolution3x3& convolution)
      : rows_(tile_ranges(integer(convolution.out.rows), has_shorter_tiles(convolution))),
        columns_(tile_ranges(integer(convolution.out.columns), has_shorter_tiles(convolution))) {}

  int row_points() const { return rows_.front().points(); }
  int column_points() const { return columns_.front().points(); }
  int points() const { return row_points() * column_points(); }
  // Return all tiles of each size. Tiles above and to the left come first.
  std::vector<TileGroup2d> groups() const {
    std::vector<TileGroup2d> groups;
    for (const TileRange& rows : rows_)
      for (const TileRange& columns : columns_) groups.push_back({rows, columns});
    return groups;
  }
  // Call visit(point of the group, the same point of the tiling) for each point that tiles of a group have.
  template <class Visit>
  void for_each_point(const TileGroup2d& group, Visit visit) const {
    for (int i = 0; i < group.rows.points(); ++i)
      for (int j = 0; j < group.columns.points(); ++j) visit(i * group.columns.points() + j, i * column_points() + j);
  }
  // Return a point's number in a group of tiles, -1 if the tiles do not have it.
  int point_in_group(int point, const TileGroup2d& group) const {
    const int row = point / column_points(), column = point % column_points();
    return row < group.rows.points() && column < group.columns.points() ? row * group.columns.points() + column : -1;
  }
  // Return the number of products per pair of channels.
  int products() const {
    int products = 0;
    for (const TileGroup2d& group : groups()) products += group.tiles() * group.points();
    return products;
  }

 private:
  // With fewer channels, the additional groups of tiles cost more time than the saved products.
  static constexpr std::int64_t kMinPairs = 1024;  // of channels
  static bool has_shorter_tiles(const Convolution3x3& c) { return c.in.channels * c.out.channels >= kMinPairs; }

  std::vector<TileRange> rows_, columns_;
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
// does the same for the 2-D algorithm. This file cannot call it: headers of kernels are compiled once per instruction
// set.
inline std::array<double, 6> transform_f43(double first, double second, double third) {
  constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;
  const double even_a = first + 0.5 * third, odd_a = kA * second, even_b = first + 2 * third, odd_b = kB * second;
  return {first, (even_a + odd_a) * (-2.0 / 3), (even_a - odd_a) * (-2.0 / 3),
          third, (even_b + odd_b) / 6,          (even_b - odd_b) / 6};
}

inline std::array<double, 4> transform_f23(double first, double second, double third) {
  const double even = 0.5 * (first + third), odd = 0.5 * second;
  return {first, even + odd, even - odd, third};
}

}  // namespace mnistcnn::engine::lanes
