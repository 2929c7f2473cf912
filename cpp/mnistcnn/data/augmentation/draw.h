#pragma once
#include <array>
#include <cstddef>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/steps.h"

// What is random in a step, apart from what it does to pixels.
namespace mnistcnn::data::augmentation {

using Numbers = std::array<double, 8>;  // the first of them have the names in the step's kDrawn

struct Drawn {
  bool applied;
  Numbers numbers;
  common::Stream pixels;  // for steps with a random number for every pixel
};

// For the image at a place of its set and the step at a place of the list.
Drawn draw(const Step& step, std::size_t position, const Size& image, const common::Stream& of_image);

// All of an image's.
inline common::Stream stream_of_image(std::uint64_t seed, std::uint64_t epoch, std::int64_t index) {
  return {seed, common::Purpose::kAugment, epoch, static_cast<std::uint64_t>(index)};
}

}  // namespace mnistcnn::data::augmentation
