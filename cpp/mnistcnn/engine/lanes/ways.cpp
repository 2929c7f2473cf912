#include "mnistcnn/engine/lanes/ways.h"

#include "mnistcnn/engine/lanes/bands.h"

// All estimates are cycles of a block. They were fitted to the convolutions of the zoo, each computed in every way, on
// Zen 4: what a multiply-add takes, what the transforms take for each vector, and for each pair of channels the packing
// of its weights or the sums over its images.
namespace mnistcnn::engine::lanes {
namespace {

double number(std::int64_t i) { return static_cast<double>(i); }

// Pairs of an output and a kernel position that sees the map.
double touching_pairs(std::int64_t inputs, std::int64_t outputs, int before) {
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < outputs; ++i)
    for (std::int64_t k = 0; k < 3; ++k) pairs += i + k >= before && i + k - before < inputs ? 1 : 0;
  return number(pairs);
}

double column_pairs(const WinogradShape& shape) {
  return touching_pairs(shape.in.columns, shape.out.columns, shape.left);
}

double channel_pairs(const WinogradShape& shape) { return number(shape.in.channels * shape.out.channels); }

double points_of_bands(const WinogradShape& shape) {
  double points = 0;
  for (const Band& band : bands_of(shape.out.rows)) points += points_of(band.kind);
  return points;
}

// For each point of a band: a vector of each input written, a vector of each output read, or of its gradient written.
double band_transforms(const WinogradShape& shape) {
  return 4.2 * number(shape.in.channels * shape.in.columns) + 3.5 * number(shape.out.channels * shape.out.columns);
}

// A correlation skips what lies outside the map.
double direct_correlation(const WinogradShape& shape) {
  return 1.06 * channel_pairs(shape) * touching_pairs(shape.in.rows, shape.out.rows, shape.top) * column_pairs(shape);
}

double band_correlation(const WinogradShape& shape) {
  const double products = 1.08 * channel_pairs(shape) * column_pairs(shape);
  return points_of_bands(shape) * (products + band_transforms(shape)) + 12 * channel_pairs(shape);
}

double winograd_correlation(const WinogradShape& shape) {
  const double c = number(shape.in.channels), o = number(shape.out.channels);
  return number(shape.tiles()) * (36 * 1.08 * c * o + 160 * c + 210 * o) + 40 * c * o;
}

double direct_weights(const WinogradShape& shape) {
  return channel_pairs(shape) * (9.1 * number(shape.out.positions()) + 28);
}

double band_weights(const WinogradShape& shape) {
  const double products = 3.15 * channel_pairs(shape) * number(shape.out.columns);
  return points_of_bands(shape) * (products + band_transforms(shape)) +
         channel_pairs(shape) * (7.5 * BandWeightGradient::sums(shape) + 20);
}

double winograd_weights(const WinogradShape& shape) {
  const double c = number(shape.in.channels), o = number(shape.out.channels);
  return number(shape.tiles()) * (36 * 1.05 * c * o + 210 * c + 170 * o) + 115 * c * o;
}

Way quickest(double direct, double bands, double winograd) {
  if (winograd < direct && winograd < bands) return Way::kWinograd;
  return bands < direct ? Way::kBands : Way::kDirect;
}

}  // namespace

// Never Winograd's: the forward decides which way each ReLU and maximum goes, so it keeps to the more exact sums.
Way way_of_outputs(const WinogradShape& shape) {
  return band_correlation(shape) < direct_correlation(shape) ? Way::kBands : Way::kDirect;
}

Way way_of_input_gradient(const WinogradShape& shape) {
  const WinogradShape back = shape.reversed();
  return quickest(direct_correlation(back), band_correlation(back), winograd_correlation(back));
}

Way way_of_weight_gradient(const WinogradShape& shape) {
  return quickest(direct_weights(shape), band_weights(shape), winograd_weights(shape));
}

}  // namespace mnistcnn::engine::lanes
