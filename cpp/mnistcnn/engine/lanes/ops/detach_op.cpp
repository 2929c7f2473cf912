#include "mnistcnn/engine/lanes/ops/detach_op.h"

namespace mnistcnn::engine::lanes {

void DetachOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    const std::int64_t size = output_->extent.elements() * kLanes;
    std::copy_n(at.view(input().value->activation).data, size, at.view(output_->activation).data);
  });
}

// The first of several readers sets the gradient of a value, the others add to it: here it is set to zero.
void DetachOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    if (!input().wants_gradient(at.run) || input().adds_gradient) return;
    std::fill_n(at.view(input().value->gradient).data, input().value->extent.elements() * kLanes, 0.0f);
  });
}

}  // namespace mnistcnn::engine::lanes
