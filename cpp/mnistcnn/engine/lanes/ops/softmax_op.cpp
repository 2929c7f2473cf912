#include "mnistcnn/engine/lanes/ops/softmax_op.h"

namespace mnistcnn::engine::lanes {

Needs SoftmaxOp::needs() const {
  Needs needs;
  needs.temporary = input().value->extent.elements() * kLanes;
  return needs;
}

SoftmaxTile SoftmaxOp::tile() const {
  const Extent& extent = input().value->extent;
  SoftmaxTile t{};
  t.classes = static_cast<int>(extent.channels);
  t.positions = static_cast<int>(extent.positions());
  t.class_step = extent.positions() * kLanes;
  return t;
}

void SoftmaxOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    SoftmaxTile t = tile();
    t.x = at.view(input().value->activation).data;
    t.out = at.view(output_->activation).data;
    (logarithm_ ? at.run.kernels->log_softmax_forward : at.run.kernels->softmax_forward)(t);
  });
}

void SoftmaxOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    if (!input().wants_gradient(at.run)) return;
    give_gradient(at, input(), places_.temporary, [&](View target) {
      SoftmaxTile t = tile();
      t.x = at.view(output_->activation).data;
      t.gradient = at.view(output_->gradient).data;
      t.out = target.data;
      (logarithm_ ? at.run.kernels->log_softmax_backward : at.run.kernels->softmax_backward)(t);
    });
  });
}

}  // namespace mnistcnn::engine::lanes
