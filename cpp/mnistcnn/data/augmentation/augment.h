#pragma once
#include <cstdint>
#include <span>

#include "mnistcnn/data/augmentation/plan.h"

namespace mnistcnn::data::augmentation {

struct AugmentOptions {
  std::uint64_t seed = 0, epoch = 0;
  int threads = 0;  // 0: as many as there are cores for this process
};

// images: u8 [N, ...] of plan.input(); out: u8 [indices, ...] of plan.output(), the images of these indices.
void augment(const Plan& plan, const std::uint8_t* images, std::span<const std::int64_t> indices,
             const AugmentOptions& options, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
