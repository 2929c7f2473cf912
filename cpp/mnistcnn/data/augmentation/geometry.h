#pragma once
#include <array>
#include <optional>

#include "mnistcnn/data/augmentation/steps.h"

// From what is drawn to the coefficients of a warp. All of them lead from the result back to the image.
namespace mnistcnn::data::augmentation {

// x' = m[0] x + m[1] y + m[2], y' = m[3] x + m[4] y + m[5]
using Matrix = std::array<double, 6>;
// See Perspective.
using Homography = std::array<double, 8>;

struct Turn {
  Matrix matrix;
  Sides size;         // of the result
  int quarters = -1;  // counter-clockwise quarter turns, where pixels are only rearranged; else -1
};

// As Pillow turns an image by an angle in degrees, counter-clockwise.
Turn turn(double degrees, std::optional<Point> center, bool expand, Sides image);

// As torchvision combines turning (clockwise), shifting, scaling and shearing.
struct AffineParameters {
  double degrees, translate_x, translate_y, scale, shear_x, shear_y;
};
Matrix affine_matrix(const AffineParameters& parameters, Point center);

// The homography that leads from four corners of the result (`ends`) to those of the image (`starts`), rounded to
// float as torchvision does. Nothing when the corners don't determine one.
std::optional<Homography> homography(const std::array<Point, 4>& starts, const std::array<Point, 4>& ends);

}  // namespace mnistcnn::data::augmentation
