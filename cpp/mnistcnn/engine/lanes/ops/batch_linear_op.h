#pragma once
#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/engine/lanes/ops/source.h"

namespace mnistcnn::engine::lanes {

// A large linear layer: one matrix product over the whole batch, so that each weight is read once per step and not once
// per block. Costs a barrier in front and one behind.
class BatchLinearOp final : public Op {
 public:
  BatchLinearOp(Source source, Value* output, int weight, int bias);

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  // Its matrices in batch memory, [rows][blocks][16].
  enum Matrix { kX, kY, kGradientX, kGradientY, kTransposedX };

  std::int64_t inputs() const { return source_.extent().elements(); }
  std::int64_t outputs() const { return output_->extent.elements(); }
  float* matrix(const Run& run, Matrix which) const;
  std::int64_t row(const Run& run) const { return run.batch_blocks * kLanes; }
  void collect(const BlockRun& at, const float* from, Matrix to, std::int64_t count) const;
  void distribute(const BlockRun& at, Matrix from, float* to, std::int64_t count) const;
  void input_of(const BlockRun& at) const;
  void output_rows(const Run& run, int piece) const;
  void input_gradient_rows(const Run& run, int piece) const;
  void weight_gradient_rows(const Run& run, int piece) const;

  Source source_;
  Value* output_;
  int weight_, bias_;  // uses of parameters, -1: none
};

}  // namespace mnistcnn::engine::lanes
