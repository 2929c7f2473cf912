#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mnistcnn/data/augmentation/draw.h"
#include "mnistcnn/data/augmentation/resize.h"
#include "mnistcnn/data/augmentation/steps.h"

namespace mnistcnn::data::augmentation {

// Identifies one augmented image. All its random parameters are a function of this key.
struct SampleKey {
  std::uint64_t seed = 0, epoch = 0;
  std::int64_t index = 0;
};

// A list of augmentation steps, checked and prepared for input images of one size.
class AugmentationPlan {
 public:
  // image: size of the input images, each number at least 1, with at most 2^31 bytes. Throw std::invalid_argument if it
  // is invalid, or if a step is not applicable to the images that reach it.
  AugmentationPlan(std::vector<Step> steps, const Size& image);

  const Size& input() const { return input_; }
  // Size of the output images. Throw std::invalid_argument if it is not the same for all images.
  Size output() const;

  // Size of the scratch memory of one call of `run`, in bytes. The memory must be aligned to 16 bytes.
  std::size_t scratch_bytes() const { return 2 * image_bytes_ + work_bytes_; }

  // Augment one image. image: u8 [C, H, W] of size input(), out: u8 [C, H, W] of size output().
  void run(const SampleKey& key, const std::uint8_t* image, std::uint8_t* out, std::byte* scratch) const noexcept;

  // Return the parameters that `run` draws, one element per step. Steps of a skipped RandomApply group are not applied.
  std::vector<DrawnStep> draw_all(const SampleKey& key) const;

  // Apply only the first step, with the given parameters, to an image of size input().
  struct Result {
    Size size;
    std::vector<std::uint8_t> pixels;
  };
  Result apply_first(const Numbers& numbers, const std::uint8_t* image) const;

  const std::vector<Step>& steps() const { return steps_; }

 private:
  struct SizeRange {
    Size smallest, largest;
  };
  struct Prepared {
    std::vector<AxisResampler> rows, columns;  // for each height and width, starting at the smallest one
    Size smallest;
    std::vector<float> half_kernel;
  };

  SizeRange propagate_sizes(SizeRange sizes, std::size_t first, std::size_t end);
  SizeRange prepare(std::size_t position, const SizeRange& sizes);
  Size size_after(std::size_t position, const Numbers& numbers, const Size& image) const;
  void apply(std::size_t position, const DrawnStep& drawn, const ImageView& in, std::uint8_t* out,
             std::uint8_t* work) const;

  std::vector<Step> steps_;
  std::vector<Prepared> prepared_;
  Size input_;
  SizeRange output_;
  std::size_t image_bytes_ = 0, work_bytes_ = 0;
};

}  // namespace mnistcnn::data::augmentation
