#include "mnistcnn/engine/lanes/ops/add_op.h"

namespace mnistcnn::engine::lanes {

void AddOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    const std::int64_t size = output_->extent.elements() * kLanes;
    float* const out = at.view(output_->activation).data;
    std::copy_n(at.view(inputs_[0].value->activation).data, size, out);
    for (std::size_t i = 1; i < inputs_.size(); ++i)
      at.run.kernels->add(at.view(inputs_[i].value->activation).data, out, size);
  });
}

void AddOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    const std::int64_t size = output_->extent.elements() * kLanes;
    const float* gradient = at.view(output_->gradient).data;
    for (const Input& input : inputs_) {
      if (!input.wants_gradient(at.run)) continue;
      float* const target = at.view(input.value->gradient).data;
      if (input.adds_gradient)
        at.run.kernels->add(gradient, target, size);
      else
        std::copy_n(gradient, size, target);
    }
  });
}

}  // namespace mnistcnn::engine::lanes
