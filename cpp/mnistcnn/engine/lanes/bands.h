#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/correlation.h"
#include "mnistcnn/engine/lanes/weight_tiles.h"
#include "mnistcnn/engine/lanes/winograd.h"

namespace mnistcnn::engine::lanes {

// A map's rows of outputs as bands: four rows each, and two where no more are left.
struct Band {
  int first;
  BandRows kind;
};
std::vector<Band> bands_of(std::int64_t rows);
constexpr int points_of(BandRows kind) { return kind == kFourRows ? 6 : 4; }
constexpr int rows_of(BandRows kind) { return kind == kFourRows ? 4 : 2; }

enum class Direction { kForward, kGradient };

// The outputs of a 3x3 convolution or the gradient of its inputs, band by band. `shape` is the pass's own: a gradient's
// goes from the outputs of the convolution to its inputs.
class BandCorrelation {
 public:
  BandCorrelation(const KernelTable& kernels, const WinogradShape& shape, Direction direction);

  std::int64_t packed_size() const { return points_ * product_.packed_size(); }  // floats
  std::int64_t workspace_size() const;                                           // floats
  int packing_jobs() const { return static_cast<int>(shape_.out.channels); }
  std::int64_t packing_work() const { return 3 * points_ * shape_.in.channels; }
  // Of PyTorch's [outputs of the convolution][its inputs][3][3].
  void pack(int job, const float* weights, float* packed) const;
  void run(View x, const float* packed, const float* bias, View y, float* workspace) const;

 private:
  std::int64_t width() const { return before_ + shape_.in.columns + after_; }
  std::int64_t inputs_point() const;
  std::int64_t outputs_point() const;
  // Where the weights of an output lie in packed memory: the first, and how far from point to point and from one
  // (channel, kernel column) to the next.
  struct Places {
    std::int64_t first, point, position;
  };
  Places places_of(BandRows kind, int output) const;
  template <BandRows kKind>
  void pack_kind(int output, const float* weights, float* packed) const;
  void multiply(BandRows kind, const float* inputs, const float* packed, float* products) const;
  void run_in_registers(const Band& band, const float* inputs, const float* packed, const float* bias, View y) const;

  const KernelTable* kernels_;
  WinogradShape shape_;
  Direction direction_;
  std::vector<Band> bands_;
  std::vector<BandRows> kinds_;  // that there are
  int points_ = 0;               // of all these
  Correlation product_;          // at one point: a convolution with a kernel of one row
  std::vector<Correlation::Tile> tiles_;
  bool in_registers_;           // products and outputs in one go
  int before_ = 0, after_ = 0;  // columns of zeros that the products need
};

class BandWeightGradient {
 public:
  BandWeightGradient(const KernelTable& kernels, const WinogradShape& shape);
  // How many sums over images there would be for each kernel column and pair of channels.
  static int sums(const WinogradShape& shape);

  std::int64_t workspace_size() const;  // floats
  // f32 [outputs][channels][3][3]
  void run(View x, View d, float* out, bool accumulate, float* workspace) const;

 private:
  // Bands of one kind whose values at the points stay in the second cache.
  struct Strip {
    BandRows kind;
    int first, bands;  // its first row, how many bands
    bool adds;         // to the sums of the strip before
    bool last;         // of its kind
  };

  static std::vector<Strip> strips_of(const WinogradShape& shape);
  std::int64_t width() const { return shape_.left + shape_.in.columns + after_; }
  std::int64_t inputs_point() const;
  std::int64_t gradients_point() const;
  void to_points(const Strip& strip, View x, View d, float* inputs, float* gradients) const;
  void sum(const Strip& strip, const float* inputs, const float* gradients, float* sums) const;

  const KernelTable* kernels_;
  WinogradShape shape_;
  int after_ = 0;  // columns of zeros behind the inputs
  std::vector<Strip> strips_;
  int most_bands_ = 1;  // of a strip
  std::vector<WeightTile> tiles_;
  std::vector<std::int32_t> taps_;
};

}  // namespace mnistcnn::engine::lanes
