#pragma once
#include <cstdint>

#include "mnistcnn/data/augmentation/geometry.h"

// Moves pixels the way Pillow does, to the bit: nearest neighbours of an affine warp with 16.16 fixed point numbers,
// everything else in double precision, and what falls outside the image is `fill`.
namespace mnistcnn::data::augmentation {

struct Picture {
  const std::uint8_t* pixels;  // u8 [C, H, W]
  Size size;
};

struct Filling {
  Interpolation interpolation;
  std::uint8_t fill;
};

// out: u8 [C, result.height, result.width]
void warp(const Picture& in, const Matrix& matrix, const Filling& filling, Sides result, std::uint8_t* out);
void warp(const Picture& in, const Homography& homography, const Filling& filling, std::uint8_t* out);

// Pixel (x, y) comes from (x + dx, y + dy); dx and dy: f32 [H, W]
void warp(const Picture& in, const float* dx, const float* dy, const Filling& filling, std::uint8_t* out);

// Counter-clockwise quarter turns; out: u8 [C, H, W] or [C, W, H]
void rearrange(const Picture& in, int quarters, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
