#pragma once
#include <cstdint>
#include <span>

#include "mnistcnn/train/evaluation.h"
#include "mnistcnn/train/model_view.h"

namespace mnistcnn::train {

// New running statistics for weights that no batch has met: the plain mean over the batches of one pass in training
// mode (dropout included), as torch.optim.swa_utils.update_bn. Norms whose momentum is 0 keep theirs. An exception
// leaves the model as it was.
//   images: u8 [count, C, H, W]
void recompute_statistics(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                          std::int64_t batch_size, std::uint64_t seed, const OnImages& on_images = {});

}  // namespace mnistcnn::train
