#pragma once
#include <cstddef>
#include <cstdint>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/engine/batch.h"

namespace mnistcnn::train {

// Image source of the engines that augments the images of a data set for one epoch.
class AugmentedImages final : public engine::ImageSource {
 public:
  // images: u8 [N, C, H, W] of size plan.input(). The plan and the images must outlive this object.
  AugmentedImages(const data::augmentation::AugmentationPlan& plan, const std::uint8_t* images, std::uint64_t seed,
                  std::uint64_t epoch)
      : plan_(plan), images_(images), seed_(seed), epoch_(epoch) {}

  std::size_t scratch_bytes() const override { return plan_.scratch_bytes(); }

  void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept override {
    plan_.run({seed_, epoch_, index}, images_ + index * plan_.input().bytes(), image, scratch);
  }

 private:
  const data::augmentation::AugmentationPlan& plan_;
  const std::uint8_t* images_;
  std::uint64_t seed_, epoch_;
};

}  // namespace mnistcnn::train
