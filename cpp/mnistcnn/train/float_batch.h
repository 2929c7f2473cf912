#pragma once
#include <cstdint>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::train {

// The picked images as the floats that enter the network -> f32 [B, C, H, W]. The one place where this room makes
// floats of pixels; for steps whose images are changed after they were normalised.
void gather(const engine::ImageBatch& batch, const network::Shape& shape, float* images);

}  // namespace mnistcnn::train
