#include "mnistcnn/engine/lanes/bands.h"

#include <algorithm>

#include "mnistcnn/engine/lanes/points.h"
#include "mnistcnn/engine/lanes/weight_points.h"

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kMostPoints = 6;
constexpr std::int64_t kStripBytes = 256 << 10;

// Columns outside the map that a convolution sees behind it.
int zeros_behind(const WinogradShape& shape) {
  return integer(std::max<std::int64_t>(0, shape.out.columns + 2 - shape.left - shape.in.columns));
}

BandTile band_tile(View map, const Extent& extent, int first_row, float* points, std::int64_t point,
                   std::int64_t point_channel) {
  BandTile t{};
  set_map(t, map, extent);
  t.first_row = first_row;
  t.points = points;
  t.point = point;
  t.point_channel = point_channel;
  return t;
}

// The values of a few columns at the points must stay in the first cache; and only products by way of memory skip the
// columns outside the map. Both give the same bits.
bool quicker_in_registers(const WinogradShape& shape) {
  return shape.in.channels <= 16 && 6 * (shape.left + zeros_behind(shape)) <= shape.out.columns;
}

}  // namespace

std::vector<Band> bands_of(std::int64_t rows) {
  std::vector<Band> bands;
  for (int first = 0; first < rows;) {
    const BandRows kind = rows - first > 2 ? kFourRows : kTwoRows;
    bands.push_back({first, kind});
    first += rows_of(kind);
  }
  return bands;
}

BandCorrelation::BandCorrelation(const KernelTable& kernels, const WinogradShape& shape, Direction direction)
    : kernels_(&kernels),
      shape_(shape),
      direction_(direction),
      bands_(bands_of(shape.out.rows)),
      product_(kernels, {1, integer(shape.in.channels), integer(shape.out.channels)}, forward_axis(1, 1, 1, 1, 0, 1),
               forward_axis(shape.in.columns, shape.out.columns, 3, 1, shape.left, 1), {}),
      tiles_(product_.row_tiles()),
      in_registers_(kernels.bands[kFourRows].product != nullptr && quicker_in_registers(shape)) {
  for (const BandRows kind : {kTwoRows, kFourRows})
    if (std::any_of(bands_.begin(), bands_.end(), [&](const Band& band) { return band.kind == kind; })) {
      kinds_.push_back(kind);
      points_ += points_of(kind);
    }
  if (!in_registers_ && !product_.needs_column_border()) return;
  before_ = shape.left;
  after_ = zeros_behind(shape);
}

std::int64_t BandCorrelation::inputs_point() const { return odd_lines(shape_.in.channels * width()); }
std::int64_t BandCorrelation::outputs_point() const { return odd_lines(shape_.out.channels * shape_.out.columns); }
std::int64_t BandCorrelation::workspace_size() const { return kMostPoints * (inputs_point() + outputs_point()); }

BandCorrelation::Places BandCorrelation::places_of(BandRows kind, int output) const {
  if (!in_registers_) {
    const std::int64_t first = product_.place_of(output, 0, 0);
    return {first, product_.packed_size(), product_.place_of(output, 0, 1) - first};
  }
  const std::int64_t points = points_of(kind), pair = output / 2;
  const std::int64_t of_pair = std::min<std::int64_t>(2, shape_.out.channels - 2 * pair);
  return {6 * points * shape_.in.channels * pair + output % 2, of_pair, points * of_pair};
}

template <BandRows kKind>
void BandCorrelation::pack_kind(int output, const float* weights, float* packed) const {
  const std::int64_t channels = shape_.in.channels, outputs = shape_.out.channels;
  const bool forward = direction_ == Direction::kForward;
  const int first = forward ? 0 : 8, step = forward ? 1 : -1;
  const Places places = places_of(kKind, output);
  float* to = packed + places.first;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* const nine = weights + (forward ? output * channels + c : c * outputs + output) * 9 + first;
    for (int column = 0; column < 3; ++column, to += places.position) {
      const auto w = [&](int row) { return double{nine[step * (3 * row + column)]}; };
      float* place = to;
      const auto put = [&](const auto& points) {
        for (const double each : points) {
          *place = static_cast<float>(each);
          place += places.point;
        }
      };
      if constexpr (kKind == kFourRows)
        put(at_six_points(w(0), w(1), w(2)));
      else
        put(at_four_points(w(0), w(1), w(2)));
    }
  }
}

void BandCorrelation::pack(int job, const float* weights, float* packed) const {
  for (const BandRows kind : kinds_) {
    kind == kFourRows ? pack_kind<kFourRows>(job, weights, packed) : pack_kind<kTwoRows>(job, weights, packed);
    packed += points_of(kind) * product_.packed_size();
  }
}

void BandCorrelation::multiply(BandRows kind, const float* inputs, const float* packed, float* products) const {
  ConvolutionTile t{};
  t.x_plane = width() * kLanes;
  t.y_plane = shape_.out.columns * kLanes;
  t.x_step = t.y_step = kLanes;
  t.channels = integer(shape_.in.channels);
  t.kernel_rows = t.end_row = 1;
  t.kernel_columns = t.end_column = 3;
  inputs += (before_ - shape_.left) * kLanes;
  for (int point = 0; point < points_of(kind); ++point) {
    for (const Correlation::Tile& tile : tiles_) {
      t.x = inputs + tile.column * kLanes;
      t.w = packed + tile.output * shape_.in.channels * 3;
      t.y = products + tile.output * t.y_plane + tile.column * kLanes;
      tile.kernel(t);
    }
    inputs += inputs_point();
    packed += product_.packed_size();
    products += outputs_point();
  }
}

void BandCorrelation::run_in_registers(const Band& band, const float* inputs, const float* packed, const float* bias,
                                       View y) const {
  BandProduct t{};
  t.x = inputs;
  t.point = inputs_point();
  t.point_channel = width() * kLanes;
  t.w = packed;
  t.y = y.data + band.first * y.row;
  t.y_plane = y.plane;
  t.y_row = y.row;
  t.channels = integer(shape_.in.channels);
  t.outputs = integer(shape_.out.channels);
  t.columns = integer(shape_.out.columns);
  t.rows = std::min(integer(shape_.out.rows) - band.first, rows_of(band.kind));
  t.bias = bias;
  kernels_->bands[band.kind].product(t);
}

void BandCorrelation::run(View x, const float* packed, const float* bias, View y, float* workspace) const {
  float* const products = workspace + kMostPoints * inputs_point();
  const std::int64_t behind_two_rows = kinds_.front() == kTwoRows ? points_of(kTwoRows) * product_.packed_size() : 0;
  for (const Band& band : bands_) {
    const BandKernels& kernels = kernels_->bands[band.kind];
    const float* const weights = packed + (band.kind == kFourRows ? behind_two_rows : 0);
    BandTile in = band_tile(x, shape_.in, band.first - shape_.top, workspace, inputs_point(), width() * kLanes);
    in.before = before_;
    in.after = after_;
    kernels.inputs(in);
    if (in_registers_) {
      run_in_registers(band, workspace, weights, bias, y);
      continue;
    }
    multiply(band.kind, workspace, weights, products);
    BandTile out =
        band_tile(y, shape_.out, band.first, products, outputs_point(), shape_.out.columns * std::int64_t{kLanes});
    out.bias = bias;
    kernels.outputs(out);
  }
}

BandWeightGradient::BandWeightGradient(const KernelTable& kernels, const WinogradShape& shape)
    : kernels_(&kernels), shape_(shape), after_(zeros_behind(shape)), strips_(strips_of(shape)) {
  for (const Strip& strip : strips_) most_bands_ = std::max(most_bands_, strip.bands);
  for (std::int64_t c = 0; c < shape.in.channels; ++c)
    for (int column = 0; column < 3; ++column) taps_.push_back(integer((c * most_bands_ * width() + column) * kLanes));
  tiles_ = weight_tiles(kernels, integer(shape.out.channels), integer(3 * shape.in.channels),
                        most_bands_ * shape.out.columns);
}

int BandWeightGradient::sums(const WinogradShape& shape) {
  int sums = 0;
  for (const Strip& strip : strips_of(shape)) sums += points_of(strip.kind);
  return sums;
}

// As nearly equal strips as possible of each kind.
std::vector<BandWeightGradient::Strip> BandWeightGradient::strips_of(const WinogradShape& shape) {
  const std::int64_t columns = shape.left + shape.in.columns + zeros_behind(shape);
  const std::int64_t band_bytes =
      kMostPoints * (shape.in.channels * columns + shape.out.channels * shape.out.columns) * kLanes * 4;
  const int most = integer(std::max<std::int64_t>(1, kStripBytes / band_bytes));
  const std::vector<Band> bands = bands_of(shape.out.rows);
  std::vector<Strip> result;
  for (const BandRows kind : {kFourRows, kTwoRows}) {
    const auto is_kind = [&](const Band& band) { return band.kind == kind; };
    const int count = integer(std::count_if(bands.begin(), bands.end(), is_kind));
    if (count == 0) continue;
    const int each = equal_part(count, most);
    const int first = std::find_if(bands.begin(), bands.end(), is_kind)->first;
    for (int band = 0; band < count; band += each)
      result.push_back(
          {kind, first + band * rows_of(kind), std::min(each, count - band), band > 0, band + each >= count});
  }
  return result;
}

std::int64_t BandWeightGradient::inputs_point() const { return odd_lines(shape_.in.channels * most_bands_ * width()); }
std::int64_t BandWeightGradient::gradients_point() const {
  return odd_lines(shape_.out.channels * most_bands_ * shape_.out.columns);
}
std::int64_t BandWeightGradient::workspace_size() const {
  return kMostPoints * (inputs_point() + gradients_point() + shape_.in.channels * shape_.out.channels * 3);
}

void BandWeightGradient::to_points(const Strip& strip, View x, View d, float* inputs, float* gradients) const {
  const BandKernels& kernels = kernels_->bands[strip.kind];
  for (int band = 0; band < strip.bands; ++band) {
    const int row = strip.first + band * rows_of(strip.kind);
    BandTile in = band_tile(x, shape_.in, row - shape_.top, inputs + band * width() * kLanes, inputs_point(),
                            most_bands_ * width() * kLanes);
    in.before = shape_.left;
    in.after = after_;
    kernels.inputs(in);
    kernels.gradients(band_tile(d, shape_.out, row, gradients + band * shape_.out.columns * kLanes, gradients_point(),
                                most_bands_ * shape_.out.columns * kLanes));
  }
}

void BandWeightGradient::sum(const Strip& strip, const float* inputs, const float* gradients, float* sums) const {
  const std::int64_t taps = 3 * shape_.in.channels, outputs = shape_.out.channels;
  WeightGradientTile t{};
  t.d_row = shape_.out.columns * kLanes;
  t.d_plane = most_bands_ * t.d_row;
  t.x_row = width() * kLanes;
  t.x_step = kLanes;
  t.rows = strip.bands;
  t.columns = integer(shape_.out.columns);
  t.out_row = taps;
  t.accumulate = strip.adds;
  for (int point = 0; point < points_of(strip.kind); ++point) {
    t.x = inputs + point * inputs_point();
    for (const WeightTile& tile : tiles_) {
      t.d = gradients + point * gradients_point() + tile.output * t.d_plane;
      t.taps = taps_.data() + tile.tap;
      t.out = sums + (point * outputs + tile.output) * taps + tile.tap;
      tile.kernel(t);
    }
  }
}

void BandWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace) const {
  float* const gradients = workspace + kMostPoints * inputs_point();
  float* const sums = gradients + kMostPoints * gradients_point();
  for (const Strip& strip : strips_) {
    to_points(strip, x, d, workspace, gradients);
    sum(strip, workspace, gradients, sums);
    if (!strip.last) continue;
    kernels_->bands[strip.kind].weights(sums, shape_.in.channels * shape_.out.channels, out, accumulate);
    accumulate = true;
  }
}

}  // namespace mnistcnn::engine::lanes
