#include "mnistcnn/engine/engine.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "mnistcnn/common/text.h"

namespace mnistcnn::engine {

void check_floats(const char* name, const at::Tensor& tensor, at::IntArrayRef shape, const at::Device& device) {
  if (tensor.sizes() == shape && tensor.scalar_type() == at::kFloat && tensor.device() == device &&
      network::has_accessible_memory(tensor))
    return;
  throw std::invalid_argument(common::text(name, " must be a plain float32 tensor ", common::bracketed(shape), " on ",
                                           device.str(), ", got ", tensor.toString(), " ",
                                           common::bracketed(tensor.sizes()), " on ", tensor.device().str()));
}

void Engine::check_images(const at::Tensor& images, const at::Device& device) const {
  std::vector<std::int64_t> shape{images.dim() > 0 ? images.size(0) : 1};
  shape.insert(shape.end(), network().graph.input_shape.begin(), network().graph.input_shape.end());
  check_floats("images", images, shape, device);
}

void Engine::check_gradients(std::span<const at::Tensor> gradients) const {
  const auto& parameters = network().analysis.parameters;
  if (gradients.size() != parameters.size())
    throw std::invalid_argument(common::text("gradients must hold one tensor per parameter, ", parameters.size(),
                                             " in total, got ", gradients.size()));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& gradient = gradients[i];
    if (gradient.defined() && gradient.scalar_type() == at::kFloat && gradient.is_contiguous() &&
        gradient.numel() == parameters[i].count)
      continue;
    const std::string actual = gradient.defined()
                                   ? common::text(gradient.is_contiguous() ? "" : "non-contiguous ",
                                                  gradient.toString(), " ", common::bracketed(gradient.sizes()))
                                   : "an undefined tensor";
    throw std::invalid_argument(common::text("the gradient of '", parameters[i].name,
                                             "' must be a contiguous float32 tensor ",
                                             common::bracketed(parameters[i].shape), ", got ", actual));
  }
}

void Engine::start_profile() {
  throw std::invalid_argument(common::text("the ", name(), " engine does not support profiling; use engine=\"lanes\""));
}

void Engine::start_task_times() {
  throw std::invalid_argument(common::text("the ", name(), " engine has no tasks; use engine=\"lanes\""));
}

std::vector<StepTasks> Engine::stop_task_times() {
  throw std::logic_error("stop_task_times must be called after start_task_times");
}

StepProfile Engine::stop_profile() { throw std::logic_error("stop_profile must be called after start_profile"); }

}  // namespace mnistcnn::engine
