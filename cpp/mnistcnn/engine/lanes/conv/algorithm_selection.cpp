#include "mnistcnn/engine/lanes/conv/algorithm_selection.h"

#include <algorithm>
#include <limits>

#include "mnistcnn/engine/lanes/conv/winograd_1d.h"
#include "mnistcnn/engine/lanes/conv/winograd_2d.h"

// Cost model. Costs are estimated cycles per block on Zen 4: for multiply-adds, for transforms per vector, and per pair
// of channels for weight packing or sums over images. The coefficients were fitted to times of all 3x3 convolutions of
// the zoo with every algorithm, before 2-D Winograd had shorter tiles.
namespace mnistcnn::engine::lanes {
namespace {

// 2-D Winograd in the forward pass needs this many inputs and outputs.
constexpr std::int64_t kMinForwardChannels = 32;
// Computing over the whole batch needs memory for the domain of all blocks. It is faster if the transformed weights are
// large (16,384 pairs of channels: 2.4 MB at 36 points) and a block has few tiles to multiply them by.
constexpr double kMinBatchPairs = 16384;
constexpr double kMaxBatchTiles = 4;
// BatchWinograd2d does not divide rows of tiles. Tiles of a long row have at least 4 x 6 points.
static_assert(kMaxBatchTiles * 36 / (4 * 6) <= kMaxTileGroupColumns);

double number(std::int64_t i) { return static_cast<double>(i); }

// Number of (output, kernel position) pairs along one axis whose input is inside the map.
double inside_pairs(std::int64_t inputs, std::int64_t outputs, int padding) {
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < outputs; ++i)
    for (std::int64_t k = 0; k < 3; ++k) pairs += i + k >= padding && i + k - padding < inputs ? 1 : 0;
  return number(pairs);
}

double column_pairs(const Convolution3x3& c) { return inside_pairs(c.in.columns, c.out.columns, c.left); }

double channel_pairs(const Convolution3x3& c) { return number(c.in.channels * c.out.channels); }

// Number of tiles of 2-D Winograd. A shorter tile counts as its fraction of 36 points.
double tiles(const Convolution3x3& c) { return Tiling2d(c).products() / 36.0; }

// Number of rows in the Winograd domain, over all row tiles.
double domain_rows(const Convolution3x3& c) {
  double rows = 0;
  for (const RowTile& tile : row_tiles_of(c.out.rows)) rows += domain_size(tile.kind);
  return rows;
}

// Cost per domain row: one vector written per input, one vector read (or written, for gradients) per output.
double winograd_1d_transforms(const Convolution3x3& c) {
  return 4.2 * number(c.in.channels * c.in.columns) + 3.5 * number(c.out.channels * c.out.columns);
}

// Direct convolution does not multiply the padding.
double direct_cost(const Convolution3x3& c) {
  return 1.06 * channel_pairs(c) * inside_pairs(c.in.rows, c.out.rows, c.top) * column_pairs(c);
}

double winograd_1d_cost(const Convolution3x3& c) {
  const double multiply_adds = 1.08 * channel_pairs(c) * column_pairs(c);
  return domain_rows(c) * (multiply_adds + winograd_1d_transforms(c)) + 12 * channel_pairs(c);
}

// Outputs or input gradients: transforms between the domain and the inputs cost more than those of the outputs.
double winograd_2d_cost(const Convolution3x3& c) {
  const double in = number(c.in.channels), out = number(c.out.channels);
  return tiles(c) * (36 * in * out + 570 * in + 200 * out) + 17 * in * out;
}

double direct_weight_gradient_cost(const Convolution3x3& c) {
  return channel_pairs(c) * (9.1 * number(c.out.positions()) + 28);
}

double winograd_1d_weight_gradient_cost(const Convolution3x3& c) {
  const double multiply_adds = 3.15 * channel_pairs(c) * number(c.out.columns);
  return domain_rows(c) * (multiply_adds + winograd_1d_transforms(c)) +
         channel_pairs(c) * (7.5 * Winograd1dWeightGradient::image_sums(c) + 20);
}

double winograd_2d_weight_gradient_cost(const Convolution3x3& c) {
  const double in = number(c.in.channels < kMinTransposedChannels ? c.in.channels : whole_vectors(c.in.channels)),
               out = number(c.out.channels);
  return tiles(c) * (36 * 1.12 * in * out + 320 * in + 340 * out) + 27 * in * out;
}

Algorithm cheapest(double direct, double winograd_1d, double winograd_2d) {
  if (winograd_2d < direct && winograd_2d < winograd_1d) return Algorithm::kWinograd2d;
  return winograd_1d < direct ? Algorithm::kWinograd1d : Algorithm::kDirect;
}

}  // namespace

Algorithm select_forward_algorithm(const Convolution3x3& c) {
  const bool is_wide = std::min(c.in.channels, c.out.channels) >= kMinForwardChannels;
  const double winograd_2d = is_wide ? winograd_2d_cost(c) : std::numeric_limits<double>::infinity();
  return cheapest(direct_cost(c), winograd_1d_cost(c), winograd_2d);
}

Algorithm select_input_gradient_algorithm(const Convolution3x3& c) {
  const Convolution3x3 back = c.reversed();
  return cheapest(direct_cost(back), winograd_1d_cost(back), winograd_2d_cost(c));
}

Algorithm select_weight_gradient_algorithm(const Convolution3x3& c) {
  return cheapest(direct_weight_gradient_cost(c), winograd_1d_weight_gradient_cost(c),
                  winograd_2d_weight_gradient_cost(c));
}

bool uses_batch_algorithm(const Convolution3x3& c) {
  return channel_pairs(c) >= kMinBatchPairs && tiles(c) <= kMaxBatchTiles &&
         select_forward_algorithm(c) == Algorithm::kWinograd2d &&
         select_input_gradient_algorithm(c) == Algorithm::kWinograd2d &&
         select_weight_gradient_algorithm(c) == Algorithm::kWinograd2d;
}

}  // namespace mnistcnn::engine::lanes
