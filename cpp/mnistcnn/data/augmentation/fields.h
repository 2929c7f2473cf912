#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mnistcnn/common/random.h"
#include "mnistcnn/data/augmentation/warp.h"

// Steps with a random number of its own for every pixel.
namespace mnistcnn::data::augmentation {

// Half of a Gaussian, from the middle outwards to 3 deviations; the whole sums to 1.
std::vector<float> half_gaussian(double sigma);

// Two independent fields of noise between -1 and 1, blurred, times alpha: f32 [H, W] each. The noise goes on outside
// the image, so that its edges move like its middle.
struct SmoothField {
  const std::vector<float>& half_kernel;
  float alpha;

  static std::size_t scratch_floats(std::size_t half_kernel_size, Sides image);
  void draw(const common::Stream& stream, Sides image, float* dx, float* dy, float* scratch) const;
};

// in and out: u8 [count]
void add_noise(const common::Stream& stream, double std, std::int64_t count, const std::uint8_t* in, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
