#include "mnistcnn/engine/engine.h"

#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::engine {

void check_output_gradients(const at::Tensor& output_gradients, at::IntArrayRef output_shape) {
  if (output_gradients.sizes() != output_shape || output_gradients.scalar_type() != at::kFloat)
    throw std::invalid_argument(common::text("output_gradients must be float32 ", common::bracketed(output_shape),
                                             ", got ", output_gradients.toString(), " ",
                                             common::bracketed(output_gradients.sizes())));
}

void Engine::check_gradients(std::span<const at::Tensor> gradients) const {
  const auto& parameters = network().analysis.parameters;
  bool fit = gradients.size() == parameters.size();
  for (std::size_t i = 0; fit && i < parameters.size(); ++i)
    fit = gradients[i].defined() && gradients[i].scalar_type() == at::kFloat && gradients[i].is_contiguous() &&
          gradients[i].numel() == parameters[i].count;
  if (!fit)
    throw std::invalid_argument("gradients must hold one contiguous float32 tensor per parameter, of the same size");
}

void Engine::start_profile() {
  throw std::invalid_argument(common::text("the ", name(), " engine does not support profiling; use engine=\"lanes\""));
}

StepProfile Engine::stop_profile() { throw std::logic_error("stop_profile must be called after start_profile"); }

}  // namespace mnistcnn::engine
