#pragma once
#include <optional>
#include <vector>

#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// What a chain of pointwise layers does; see ChainKind for the order.
struct ChainLayers {
  struct Norm {
    double eps = 0, momentum = 0;
    int weight = -1, bias = -1;                                  // uses of parameters, -1: none
    int running_mean = -1, running_variance = -1, counter = -1;  // in Analysis, -1: none
  };
  struct Affine {
    double scale = 1, shift = 0;
  };
  enum class Activation { kNone, kRelu, kLeaky } activation = Activation::kNone;
  bool activation_first = false;  // in front of the affine step
  double slope = 0;
  std::optional<Norm> norm;      // the affine step is a batch norm,
  std::optional<Affine> affine;  // or constants
  ChainPool pool = kNoPool;
  ChainDrop drop = kNoDrop;
  double drop_probability = 0;
  bool drop_always = false;  // in evaluation as well
  bool drop_channels = false;
  int drop_node = 0;  // whose masks these are
};

// Layers computed in one pass over y: see kernels/chain.h.
class ChainOp final : public Op {
 public:
  ChainOp(Input input, Value* output, ChainLayers layers) : Op({input}), output_(output), layers_(std::move(layers)) {}

  // Lazy: nobody needs the output as such; the convolution behind it asks for it where and when it wants it.
  void make_lazy() { lazy_ = true; }
  void compute(const BlockRun& at, View out) const;

  ChainLayers& layers() { return layers_; }
  Value* output() const { return output_; }
  bool has_batch_statistics(bool training) const {
    return layers_.norm && (training || layers_.norm->running_mean < 0);
  }

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  void prepare(const Run& run) override;

 private:
  ChainKind kind() const;
  bool drops(bool training) const { return layers_.drop != kNoDrop && (training || layers_.drop_always); }
  ChainDrop drop(const Run& run) const;
  ChainTile tile(const BlockRun& at) const;
  Work work_inside(const BlockRun& at) const;
  void make_mask(const BlockRun& at) const;
  void block_moments(const BlockRun& at);
  void batch_moments(const Run& run);
  void set_coefficients(const Run& run, std::int64_t channel, double mean, double variance);
  void block_sums(const BlockRun& at);
  void batch_sums(const Run& run);
  void input_gradient(const BlockRun& at) const;

  Value* output_;
  ChainLayers layers_;
  bool lazy_ = false;

  std::vector<float> scale_, shift_, mean_, inverse_;  // per channel
  std::vector<float> gradient_mean_, projection_;      // per channel
  std::vector<double> moments_, sums_;                 // [blocks][channels][2]
};

}  // namespace mnistcnn::engine::lanes
