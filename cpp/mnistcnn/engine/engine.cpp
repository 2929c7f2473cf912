#include "mnistcnn/engine/engine.h"

#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::engine {

void check_output_gradients(const at::Tensor& output_gradients, at::IntArrayRef output_shape) {
  if (output_gradients.sizes() != output_shape || output_gradients.scalar_type() != at::kFloat)
    throw std::invalid_argument(common::text("the output gradients must be float32 ", common::bracketed(output_shape),
                                             ", got ", output_gradients.toString(), " ",
                                             common::bracketed(output_gradients.sizes())));
}

void Engine::check_gradients(std::span<const at::Tensor> gradients) const {
  const auto& parameters = network().analysis.parameters;
  bool fit = gradients.size() == parameters.size();
  for (std::size_t i = 0; fit && i < parameters.size(); ++i)
    fit = gradients[i].defined() && gradients[i].scalar_type() == at::kFloat && gradients[i].is_contiguous() &&
          gradients[i].numel() == parameters[i].count;
  if (!fit) throw std::invalid_argument("there must be a contiguous float32 gradient for each parameter, of its size");
}

void Engine::start_profile() {
  throw std::invalid_argument(common::text("the ", name(), " engine can't tell where its time goes; lanes can"));
}

StepProfile Engine::stop_profile() { throw std::logic_error("there is no profile to stop"); }

}  // namespace mnistcnn::engine
