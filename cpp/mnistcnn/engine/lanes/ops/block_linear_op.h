#pragma once
#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/engine/lanes/ops/source.h"

namespace mnistcnn::engine::lanes {

// A small linear layer, one block at a time, so that it needs no barrier.
class BlockLinearOp final : public Op {
 public:
  BlockLinearOp(Source source, Value* output, int weight, int bias);

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  std::int64_t inputs() const { return source_.extent().elements(); }
  std::int64_t outputs() const { return output_->extent.elements(); }
  const float* input_map(const BlockRun& at) const;
  void forward(const BlockRun& at) const;
  void backward(const BlockRun& at) const;
  void weight_gradients(const BlockRun& at, const float* d) const;

  Source source_;
  Value* output_;
  int weight_, bias_;  // uses of parameters, -1: none
  PartialGradient weight_gradient_, bias_gradient_;
};

}  // namespace mnistcnn::engine::lanes
