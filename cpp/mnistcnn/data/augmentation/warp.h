#pragma once
#include <cstdint>

#include "mnistcnn/data/augmentation/geometry.h"

// Geometric transforms of images, bit-identical to Pillow. Affine transforms with nearest neighbour interpolation use
// 16.16 fixed point coordinates, all others double precision. Output pixels whose source lies outside the image are
// `fill`.
namespace mnistcnn::data::augmentation {

struct ImageView {
  const std::uint8_t* pixels;  // u8 [C, H, W]
  Size size;
};

struct WarpOptions {
  Interpolation interpolation;
  std::uint8_t fill;
};

// The matrix or homography maps output to input coordinates. out: u8 [C, result.height, result.width]
void warp(const ImageView& in, const Matrix& matrix, const WarpOptions& options, PlaneSize result, std::uint8_t* out);
void warp(const ImageView& in, const Homography& homography, const WarpOptions& options, std::uint8_t* out);

// Output pixel (x, y) is sampled at (x + dx, y + dy). dx, dy: f32 [H, W]
void warp(const ImageView& in, const float* dx, const float* dy, const WarpOptions& options, std::uint8_t* out);

// Rotate counter-clockwise by quarter_turns * 90 degrees, 0 to 3. out: u8 [C, H, W] or [C, W, H]
void rotate_quarter_turns(const ImageView& in, int quarter_turns, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
