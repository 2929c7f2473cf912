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

class ConvolutionOp final : public Op {
 public:
  ConvolutionOp(const KernelTable& kernels, const network::Conv2d& layer, Source source, Value* output,
                std::int64_t weight, std::int64_t bias);

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
  std::optional<WinogradShape> winograd_shape() const;
  CorrelationWay forward_way(const KernelTable& kernels);
  void plan_gradients(const KernelTable& kernels);
  void plan_direct_gradients(const KernelTable& kernels);
  void plan_weight_gradients(const KernelTable& kernels);
  void plan_weight_tiles(const KernelTable& kernels);
  // Calls visit(way) for the forward's and the backward's, in the order of their packed weights.
  template <class Visit>
  void for_each_way(Visit visit) const {
    std::visit(visit, forward_);
    for (const CorrelationWay& way : backward_) std::visit(visit, way);
  }
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
  std::int64_t weight_, bias_;
  ScratchLayout input_layout_, gradient_layout_;
  CorrelationWay forward_;
  std::vector<CorrelationWay> backward_;                    // one for each remainder by the strides
  std::optional<WinogradWeightGradient> winograd_weights_;  // instead of weight_tiles_
  std::optional<BandWeightGradient> band_weights_;          // instead of weight_tiles_
  std::vector<WeightTile> weight_tiles_;                    // of one group
  std::vector<std::int32_t> taps_;                          // offset in the input of each (channel, row, column)
  PartialGradient weight_gradient_, bias_gradient_;
};

}  // namespace mnistcnn::engine::lanes
