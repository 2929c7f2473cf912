#pragma once
#include <span>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::train {

// Normalize the images of a batch: pixel * scale + shift -> images: f32 [B, C, H, W]. shape: [C, H, W]. Used where the
// engine cannot convert the images itself, for example because they are mixed after normalization.
void normalize_batch(const engine::ImageBatch& batch, const network::Shape& shape, std::span<float> images);

}  // namespace mnistcnn::train
