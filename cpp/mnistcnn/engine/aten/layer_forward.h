#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/network/analysis.h"

namespace mnistcnn::engine::aten {

// What one node sees when it is executed.
struct NodeContext {
  int node;
  const network::NodeAnalysis& analysis;
  at::Tensor weight, bias;                    // undefined when the layer has none
  at::Tensor running_mean, running_variance;  // likewise; updated in place in training mode
  at::Tensor num_batches_tracked;             // i64 scalar
  Mode mode;
  Randomness randomness;
};

// inputs: f32 [B, ...] each -> f32 [B, ...], differentiable by autograd.
at::Tensor layer_forward(const network::Layer& layer, std::span<const at::Tensor> inputs, const NodeContext& context);

}  // namespace mnistcnn::engine::aten
