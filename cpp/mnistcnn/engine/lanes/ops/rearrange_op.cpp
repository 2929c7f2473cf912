#include "mnistcnn/engine/lanes/ops/rearrange_op.h"

namespace mnistcnn::engine::lanes {

void RearrangeOp::add_forward(Program& program, bool) {
  program.blocks([this](const BlockRun& at) {
    std::vector<const float*> from;
    for (const Input& input : inputs_) from.push_back(at.view(input.value->activation).data);
    float* out = at.view(output_->activation).data;
    for (const Element& element : elements_) {
      if (element.input < 0)
        std::fill_n(out, kLanes, 0.0f);
      else
        std::copy_n(from[static_cast<std::size_t>(element.input)] + element.index * kLanes, kLanes, out);
      out += kLanes;
    }
  });
}

void RearrangeOp::add_backward(Program& program) {
  program.blocks([this](const BlockRun& at) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Input& input = inputs_[i];
      if (!input.wants_gradient(at.run)) continue;
      float* const target = at.view(input.value->gradient).data;
      if (!input.adds_gradient) std::fill_n(target, input.value->extent.elements() * kLanes, 0.0f);
      const float* gradient = at.view(output_->gradient).data;
      for (const Element& element : elements_) {
        if (element.input == static_cast<int>(i))
          at.run.kernels->add(gradient, target + element.index * kLanes, kLanes);
        gradient += kLanes;
      }
    }
  });
}

}  // namespace mnistcnn::engine::lanes
