#pragma once
#include "mnistcnn/engine/lanes/op.h"

namespace mnistcnn::engine::lanes {

// An activation that no chain fuses. PReLU's slopes are parameters: one for all channels, or one for each.
class ActivationOp final : public Op {
 public:
  struct Slopes {
    int use = -1;  // of a parameter
    std::int64_t count = 0;
  };

  ActivationOp(Input input, Value* output, Activation activation, ActivationParameters parameters, Slopes slopes);

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;
  std::vector<PartialGradient*> partial_gradients() override;

 private:
  ActivationRow channel(const BlockRun& at, std::int64_t c) const;
  void slope_gradients(const BlockRun& at) const;

  Value* output_;
  Activation activation_;
  ActivationParameters parameters_;
  PartialGradient slopes_;
};

}  // namespace mnistcnn::engine::lanes
