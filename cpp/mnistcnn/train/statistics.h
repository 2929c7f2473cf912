#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "mnistcnn/engine/engine.h"
#include "mnistcnn/train/epoch.h"

namespace mnistcnn::train {

// New running statistics for weights that no batch has met: the plain mean over the batches of one pass in training
// mode (dropout included), as torch.optim.swa_utils.update_bn. Norms whose momentum is 0 keep theirs.
void recompute_statistics(const network::Tensors& tensors, engine::Engine& engine, std::span<const std::uint8_t> images,
                          std::int64_t count, const InputScaling& scaling, std::int64_t batch_size, std::uint64_t seed,
                          const std::function<void(std::int64_t images_done)>& on_progress);

}  // namespace mnistcnn::train
