#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::train {

// Function that returns the current tensors of a model. The user may replace them between calls.
using TensorSource = std::function<network::Tensors()>;

// Normalization of pixels: pixel * scale + shift, one element per channel.
struct InputScaling {
  std::vector<float> scale, shift;
};

// Return the scaling equivalent to (pixel / 255 - mean) / deviation. One element per channel.
InputScaling normalization(const std::vector<double>& means, const std::vector<double>& deviations);

// Non-owning view of a model for training and evaluation. The engine and the data that `source` refers to must outlive
// it.
struct ModelView {
  ModelView(engine::Engine& model_engine, TensorSource source, InputScaling input_scaling)
      : engine(&model_engine), tensors(std::move(source)), scaling(std::move(input_scaling)) {}

  // View of tensors that are never replaced.
  ModelView(engine::Engine& model_engine, const network::Tensors& fixed, InputScaling input_scaling)
      : ModelView(model_engine, [fixed] { return fixed; }, std::move(input_scaling)) {}

  const network::Network& network() const { return engine->network(); }

  engine::Engine* engine;
  TensorSource tensors;
  InputScaling scaling;
};

}  // namespace mnistcnn::train
