#pragma once
#include <cstdint>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/warp.h"

// Steps that change pixels where they are.
namespace mnistcnn::data::augmentation {

struct Rectangle {
  std::int64_t top, left, height, width;
};

// Paints over what of the rectangle lies in the image u8 [C, H, W].
void paint(std::uint8_t* image, const Size& size, Rectangle where, std::uint8_t value);
// The same with random bytes.
void paint_noise(std::uint8_t* image, const Size& size, Rectangle where, const common::Stream& stream);

// As Pillow's ImageEnhance: towards black, and towards the mean grey.
void change_brightness(std::uint8_t* image, const Size& size, double factor);
void change_contrast(std::uint8_t* image, const Size& size, double factor);

// Grows bright parts by `amount` pixels, or shrinks them when it is negative; scratch: 3 planes.
void thicken(const Picture& in, double amount, std::uint8_t* out, std::uint8_t* scratch);

}  // namespace mnistcnn::data::augmentation
