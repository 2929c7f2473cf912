#pragma once
#include <array>
#include <cstddef>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/steps.h"

// Random parameters of augmentation steps.
namespace mnistcnn::data::augmentation {

using Numbers = std::array<double, 8>;  // random parameters of a step, named by its kDrawn; the rest is 0

struct DrawnStep {
  bool applied;
  Numbers numbers;
  common::Stream pixels;  // for steps that need a random number per pixel
};

// Draw the parameters of the step at `position` in the list. image: size before the step.
DrawnStep draw(const Step& step, std::size_t position, const Size& image, const common::Stream& image_stream);

// Return the stream that determines all random parameters of one image.
inline common::Stream stream_of_image(std::uint64_t seed, std::uint64_t epoch, std::int64_t index) {
  return {seed, common::Purpose::kAugment, epoch, static_cast<std::uint64_t>(index)};
}

}  // namespace mnistcnn::data::augmentation
