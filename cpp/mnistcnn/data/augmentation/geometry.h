#pragma once
#include <array>
#include <optional>

#include "mnistcnn/data/augmentation/steps.h"

// Compute the coefficients of geometric transforms. All map output coordinates to input coordinates.
namespace mnistcnn::data::augmentation {

// x' = m[0] x + m[1] y + m[2], y' = m[3] x + m[4] y + m[5]
using Matrix = std::array<double, 6>;
// Coefficients a to h, see Perspective.
using Homography = std::array<double, 8>;

struct RotationTransform {
  Matrix matrix;
  PlaneSize size;          // of the output
  int quarter_turns = -1;  // counter-clockwise turns by 90 degrees if the rotation only permutes pixels, else -1
};

// Rotation by an angle in degrees, counter-clockwise, as Pillow's Image.rotate computes it.
RotationTransform rotation_transform(double degrees, std::optional<Point> center, bool expand, PlaneSize image);

// Affine transform in torchvision's convention: clockwise rotation, translation, scaling, shear in degrees.
struct AffineParameters {
  double degrees, translate_x, translate_y, scale, shear_x, shear_y;
};
Matrix affine_matrix(const AffineParameters& parameters, Point center);

// Return the homography that maps four corners of the output (`ends`) to corners of the input (`starts`), rounded to
// float as torchvision does. Return nullopt if the corners do not determine one.
std::optional<Homography> homography(const std::array<Point, 4>& starts, const std::array<Point, 4>& ends);

}  // namespace mnistcnn::data::augmentation
