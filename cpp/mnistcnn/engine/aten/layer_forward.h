#pragma once
#include <ATen/core/Tensor.h>

#include <span>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/network/layers.h"

namespace mnistcnn::engine::aten {

// Tensors and settings of one node during a forward pass.
struct NodeContext {
  int node;
  at::Tensor weight, bias;                    // undefined if the layer has none
  at::Tensor running_mean, running_variance;  // undefined if the layer has none; updated in place in training mode
  at::Tensor num_batches_tracked;             // i64 scalar
  Mode mode;
  Randomness randomness;
};

// Compute the output of a layer. inputs: f32 [B, ...] each -> f32 [B, ...], differentiable by autograd.
at::Tensor layer_forward(const network::Layer& layer, std::span<const at::Tensor> inputs, const NodeContext& context);

}  // namespace mnistcnn::engine::aten
