#pragma once
#include <cstdint>
#include <span>

#include "mnistcnn/data/augmentation/plan.h"

// Augment a set of images on several threads.
namespace mnistcnn::data::augmentation {

struct AugmentOptions {
  std::uint64_t seed = 0, epoch = 0;
  int threads = 0;  // 0: number of available cores
};

// Write the augmented image of each index to `out`. images: u8 [N, C, H, W] of size plan.input();
// out: u8 [indices.size(), C, H, W] of size plan.output(). The result does not depend on the number of threads.
void augment(const AugmentationPlan& plan, const std::uint8_t* images, std::span<const std::int64_t> indices,
             const AugmentOptions& options, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
