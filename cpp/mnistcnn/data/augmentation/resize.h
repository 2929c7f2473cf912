#pragma once
#include <cstdint>
#include <vector>

#include "mnistcnn/data/augmentation/warp.h"

// Image resizing, bit-identical to Pillow 13: separable, rounded to 8 bits after each axis, with weights of 22 bits.
// The height is resized first if it loses more than twice as many pixels as the width.
namespace mnistcnn::data::augmentation {

// Resampling weights of one axis, for a triangle (bilinear, antialiased) filter.
class AxisResampler {
 public:
  AxisResampler() = default;
  AxisResampler(std::int64_t from, std::int64_t to);

  std::int64_t to() const { return static_cast<std::int64_t>(first_.size()); }
  bool changes() const { return from_ != to(); }

  // in: u8 [lines, from] -> out: u8 [lines, to]
  void scale_rows(const std::uint8_t* in, std::int64_t lines, std::uint8_t* out) const;
  // in: u8 [from, width] -> out: u8 [to, width]
  void scale_columns(const std::uint8_t* in, std::int64_t width, std::uint8_t* out) const;

 private:
  std::int64_t from_ = 0;
  std::vector<std::int32_t> first_;                 // index of the first input pixel of each output pixel
  std::vector<std::vector<std::int32_t>> weights_;  // of its input pixels, in units of 1 / 2^22
};

// Return the size of an image after Resize.
PlaneSize resized(const Resize& step, const Size& image);

// out: u8 [C, rows.to(), columns.to()]; scratch: the larger of H * columns.to() and W * rows.to() bytes
void resize_bilinear(const ImageView& in, const AxisResampler& rows, const AxisResampler& columns, std::uint8_t* out,
                     std::uint8_t* scratch);
void resize_nearest(const ImageView& in, PlaneSize result, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
