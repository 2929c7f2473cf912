#pragma once
#include <optional>
#include <variant>
#include <vector>

#include "mnistcnn/engine/lanes/bands.h"
#include "mnistcnn/engine/lanes/correlation.h"
#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/engine/lanes/ops/source.h"
#include "mnistcnn/engine/lanes/winograd.h"
#include "mnistcnn/network/layers.h"

namespace mnistcnn::engine::lanes {

// The ways to compute a pass of a convolution.
using CorrelationWay = std::variant<Correlation, WinogradCorrelation, BandCorrelation>;

// When outputs of equal inputs must be equal bits, so that a max pool behind them finds the ties that PyTorch finds.
// Only direct sums are: Winograd's method rounds the outputs of a tile differently.
enum class EqualBits { kNotNeeded, kForImageGradients, kAlways };

class ConvolutionOp final : public Op {
 public:
  ConvolutionOp(const KernelTable& kernels, const network::Conv2d& layer, Source source, Value* output, int weight,
                int bias, EqualBits equal_bits);

  // How its input must lie in memory: zeros around it, planes so far apart.
  const ScratchLayout& input_layout() const { return input_layout_; }
  // The place in gradient scratch where the gradient of its output may be left when nobody else wants it.
  const ScratchLayout& gradient_layout() const { return gradient_layout_; }
  const Value* output() const { return output_; }

  Needs needs() const override;
  int packing_jobs() const override;
  std::int64_t packing_work() const override;
  void pack(const Run& run, int job) const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  // A way, and where its weights begin in the packed memory of this operation.
  struct Packed {
    CorrelationWay way;
    std::int64_t weights;
  };

  std::optional<WinogradShape> winograd_shape() const;
  void plan_forward(const KernelTable& kernels, EqualBits equal_bits);
  void plan_gradients(const KernelTable& kernels);
  void plan_direct_gradients(const KernelTable& kernels);
  void plan_weight_gradients(const KernelTable& kernels);
  void plan_weight_tiles(const KernelTable& kernels);
  void add_way(std::vector<Packed>& ways, CorrelationWay way);
  const Packed& forward_way(const Run& run) const { return run.image_gradients ? forward_.back() : forward_.front(); }
  void run_way(const BlockRun& at, const Packed& packed, View from, const float* bias, View to) const;
  void input_gradient(const BlockRun& at, View d) const;
  View input_map(const BlockRun& at) const;
  View output_gradient(const BlockRun& at) const;
  void forward(const BlockRun& at) const;
  void backward(const BlockRun& at) const;
  void weight_gradients(const BlockRun& at, View x, View d) const;
  void bias_gradient(const BlockRun& at, View d) const;

  network::Conv2d layer_;
  Source source_;
  Value* output_;
  int weight_, bias_;  // uses of parameters, -1: none
  ScratchLayout input_layout_, gradient_layout_;
  std::vector<Packed> forward_;   // the quickest, and where it differs the one for gradients of images
  std::vector<Packed> backward_;  // one for each remainder by the strides
  std::int64_t packed_size_ = 0;  // floats
  std::optional<WinogradWeightGradient> winograd_weights_;  // instead of weight_tiles_
  std::optional<BandWeightGradient> band_weights_;          // instead of weight_tiles_
  std::vector<WeightTile> weight_tiles_;                    // of one group
  std::vector<std::int32_t> taps_;                          // offset in the input of each (channel, row, column)
  PartialGradient weight_gradient_, bias_gradient_;
};

}  // namespace mnistcnn::engine::lanes
