#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/warp.h"

// Random fields: noise and displacements with one random number per pixel.
namespace mnistcnn::data::augmentation {

// Return half of a Gaussian kernel, from the centre to 3 standard deviations. The full symmetric kernel sums to 1.
std::vector<float> half_gaussian(double sigma);

// Displacement fields of elastic distortion: uniform noise in [-1, 1), blurred and multiplied by alpha. dx, dy: f32
// [H, W]. The noise extends beyond the image, so displacements at the border have the same distribution.
struct DisplacementField {
  const std::vector<float>& half_kernel;
  float alpha;

  static std::size_t scratch_floats(std::size_t half_kernel_size, PlaneSize image);
  void draw(const common::Stream& stream, PlaneSize image, float* dx, float* dy, float* scratch) const;
};

// Add Gaussian noise with a standard deviation of 255 * std, and clip to [0, 255]. in, out: u8 [count].
void add_noise(const common::Stream& stream, double std, std::int64_t count, const std::uint8_t* in, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
