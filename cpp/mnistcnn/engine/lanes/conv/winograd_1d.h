#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/lanes/conv/direct_convolution.h"
#include "mnistcnn/engine/lanes/conv/direct_weight_gradient.h"
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"

// 1-D Winograd along the columns of a map, for 3x3 convolutions without stride: F(4, 3), and F(2, 3) if one or two rows
// remain. 18 instead of 36 multiplications per column of four outputs and pair of channels. kernels/winograd_1d.h has
// the transforms and the paper. Called by ops/convolution_op.
namespace mnistcnn::engine::lanes {

// Rows of outputs that are transformed together: four, or two at the end of the map.
struct RowTile {
  int first;
  Winograd1dKind kind;
};
std::vector<RowTile> row_tiles_of(std::int64_t rows);
constexpr int domain_size(Winograd1dKind kind) { return kind == kF43 ? 6 : 4; }  // number of points
constexpr int rows_per_tile(Winograd1dKind kind) { return kind == kF43 ? 4 : 2; }

// Outputs of a convolution, or its input gradient if `convolution` is the reversed one.
class Winograd1dConvolution {
 public:
  Winograd1dConvolution(const KernelTable& kernels, const Convolution3x3& convolution, Direction direction);

  std::int64_t packed_size() const { return points_ * domain_convolution_.packed_size(); }  // floats
  std::int64_t workspace_size() const;                                                      // floats
  int packing_tasks() const { return static_cast<int>(convolution_.out.channels); }
  std::int64_t packing_task_size() const { return 3 * points_ * convolution_.in.channels; }
  // weights: f32 [outputs][inputs][3][3] of the forward convolution, for both directions.
  void pack(int task, const float* weights, float* packed) const;
  // Parts are row tiles.
  void run(View x, const float* packed, const float* bias, View y, float* workspace, Part part = {}) const;

 private:
  // Offset of the weights of an output in packed memory, and strides between points and between (channel, kernel
  // column) pairs.
  struct WeightLayout {
    std::int64_t first, point, position;
  };

  std::int64_t width() const { return before_ + convolution_.in.columns + after_; }
  std::int64_t input_domain_stride() const;   // between points
  std::int64_t output_domain_stride() const;  // between points
  WeightLayout weight_layout(Winograd1dKind kind, int output) const;
  template <Winograd1dKind kKind>
  void pack_kind(int output, const float* weights, float* packed) const;
  void multiply_in_domain(Winograd1dKind kind, const float* inputs, const float* packed, float* outputs) const;
  void multiply_in_registers(const RowTile& tile, const float* inputs, const float* packed, const float* bias,
                             View y) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  Direction direction_;
  std::vector<RowTile> row_tiles_;
  std::vector<Winograd1dKind> kinds_;     // that occur in row_tiles_
  int points_ = 0;                        // of all kinds_ together
  DirectConvolution domain_convolution_;  // the convolution at one point, with kernels of one row
  std::vector<DirectConvolution::RegisterTile> register_tiles_;
  bool in_registers_;           // whether the domain of the outputs stays in registers
  int before_ = 0, after_ = 0;  // columns of zero padding in the domain of the inputs
};

// Weight gradient of a convolution.
class Winograd1dWeightGradient {
 public:
  static constexpr bool kPartsRepeatWork = true;

  Winograd1dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution);
  // Return the number of sums over images per kernel column and pair of channels. For the cost model.
  static int image_sums(const Convolution3x3& convolution);

  std::int64_t workspace_size() const;  // floats
  // out: f32 [outputs][channels][3][3]. Parts are output channels; each transforms all inputs.
  void run(View x, View d, float* out, bool accumulate, float* workspace, Part part = {}) const;

 private:
  // Consecutive row tiles of one kind whose domain fits the L2 budget.
  struct TileGroup {
    Winograd1dKind kind;
    int first_row, tiles;
    bool accumulate;  // add to the sums of the previous group
    bool last;        // group of its kind
  };

  static std::vector<TileGroup> groups_of(const Convolution3x3& convolution);
  std::int64_t width() const { return convolution_.left + convolution_.in.columns + after_; }
  std::int64_t input_domain_stride() const;     // between points
  std::int64_t gradient_domain_stride() const;  // between points
  void transform(const TileGroup& group, View x, View d, int outputs, float* inputs, float* gradients) const;
  void sum_in_domain(const TileGroup& group, const PartOfOutputs& part, const float* inputs, const float* gradients,
                     float* sums) const;

  const KernelTable* kernels_;
  Convolution3x3 convolution_;
  int after_ = 0;  // columns of zero padding after the inputs
  std::vector<TileGroup> groups_;
  int max_tiles_ = 1;  // of a group
  std::vector<WeightGradientTile> register_tiles_;
  std::vector<std::int32_t> taps_;
};

}  // namespace mnistcnn::engine::lanes
