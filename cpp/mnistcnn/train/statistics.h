#pragma once
#include <cstdint>
#include <span>

#include "mnistcnn/train/evaluation.h"
#include "mnistcnn/train/model_view.h"

namespace mnistcnn::train {

// Recompute the running statistics of all norms, for example after averaging weights: the mean over the batches of one
// pass in training mode (including dropout), as torch.optim.swa_utils.update_bn does. Norms with momentum 0 are not
// changed. Of a norm that is used several times, the momentum determines the weight of each use within a batch;
// update_bn gives all uses the same weight. If an exception is thrown, the model is unchanged.
//   images: u8 [count, C, H, W]
void recompute_statistics(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                          std::int64_t batch_size, std::uint64_t seed, const OnImages& on_images = {});

}  // namespace mnistcnn::train
