#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::train {

// Gives the present tensors of a model; the user may replace them between two calls.
using TensorSource = std::function<network::Tensors()>;

// How pixels enter a network: pixel * scale + shift, one of each per channel.
struct InputScaling {
  std::vector<float> scale, shift;
};

// The scaling (pixel / 255 - mean) / deviation; one number of each per channel.
InputScaling normalization(const std::vector<double>& means, const std::vector<double>& deviations);

// A model as training and testing see it. It owns nothing: the engine and what the source refers to must outlive it.
struct ModelView {
  ModelView(engine::Engine& model_engine, TensorSource source, InputScaling input_scaling)
      : engine(&model_engine), tensors(std::move(source)), scaling(std::move(input_scaling)) {}

  // Tensors that nobody replaces.
  ModelView(engine::Engine& model_engine, const network::Tensors& fixed, InputScaling input_scaling)
      : ModelView(model_engine, [fixed] { return fixed; }, std::move(input_scaling)) {}

  const network::Network& network() const { return engine->network(); }

  engine::Engine* engine;
  TensorSource tensors;
  InputScaling scaling;
};

}  // namespace mnistcnn::train
