#pragma once
#include <cstdint>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/warp.h"

// Pixel operations without geometry: rectangles, intensity, morphology. image: u8 [C, H, W], modified in place.
namespace mnistcnn::data::augmentation {

struct Rectangle {
  std::int64_t top, left, height, width;
};

// Fill the part of the rectangle that lies inside the image.
void fill_rectangle(std::uint8_t* image, const Size& size, Rectangle where, std::uint8_t value);
// Fill it with random bytes.
void fill_rectangle_with_noise(std::uint8_t* image, const Size& size, Rectangle where, const common::Stream& stream);

// Equivalent to Pillow's ImageEnhance: blend with black, or with the mean grey value.
void change_brightness(std::uint8_t* image, const Size& size, double factor);
void change_contrast(std::uint8_t* image, const Size& size, double factor);

// Morphological dilation by `amount` pixels, or erosion by -amount if it is negative. scratch: 3 * H * W bytes.
void dilate_or_erode(const ImageView& in, double amount, std::uint8_t* out, std::uint8_t* scratch);

}  // namespace mnistcnn::data::augmentation
