#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/data/augmentation/draw.h"
#include "mnistcnn/data/augmentation/resize.h"
#include "mnistcnn/data/augmentation/steps.h"

namespace mnistcnn::data::augmentation {

// Which image of which epoch.
struct Occasion {
  std::uint64_t seed = 0, epoch = 0;
  std::int64_t index = 0;
};

// Steps made ready for images of one size. Everything random is a function of the occasion.
class Plan {
 public:
  // Throws std::invalid_argument when a step can't be done with the images that reach it.
  Plan(std::vector<Step> steps, const Size& image);

  const Size& input() const { return input_; }
  // Of every result. Throws std::invalid_argument when results would be of different sizes.
  Size output() const;

  // Bytes of working memory, aligned to 16, that one call of `run` needs.
  std::size_t scratch_bytes() const { return 2 * picture_bytes_ + work_bytes_; }

  // image: u8 of input(), out: u8 of output()
  void run(const Occasion& occasion, const std::uint8_t* image, std::uint8_t* out, std::byte* scratch) const noexcept;

  // What `run` draws for every step; a step inside a RandomApply that isn't done is not done.
  std::vector<Drawn> drawn(const Occasion& occasion) const;

  // One step alone, with given numbers, on an image of input().
  struct Result {
    Size size;
    std::vector<std::uint8_t> pixels;
  };
  Result apply_first(const Numbers& numbers, const std::uint8_t* image) const;

  const std::vector<Step>& steps() const { return steps_; }

 private:
  struct Sizes {
    Size least, most;
  };
  struct Prepared {
    std::vector<LineScale> rows, columns;  // for every height and width from the least one on
    Size least;
    std::vector<float> half_kernel;
  };

  Sizes follow(Sizes sizes, std::size_t first, std::size_t end);
  Sizes prepare(std::size_t position, const Sizes& sizes);
  Size size_after(std::size_t position, const Numbers& numbers, const Size& image) const;
  void apply(std::size_t position, const Drawn& drawn, const Picture& in, std::uint8_t* out, std::uint8_t* work) const;

  std::vector<Step> steps_;
  std::vector<Prepared> prepared_;
  Size input_;
  Sizes output_;
  std::size_t picture_bytes_ = 0, work_bytes_ = 0;
};

}  // namespace mnistcnn::data::augmentation
