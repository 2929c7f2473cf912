#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mnistcnn/data/augmentation/warp.h"

// Scales pictures as Pillow 13 does, to the bit: one direction after the other, each rounded to bytes, with weights of
// 22 bits. The height is changed first where it loses more than twice as many pixels as the width.
namespace mnistcnn::data::augmentation {

// Which pixels of a line make each pixel of a longer or shorter line, and with which weights.
class LineScale {
 public:
  LineScale() = default;
  LineScale(std::int64_t from, std::int64_t to);

  std::int64_t to() const { return static_cast<std::int64_t>(first_.size()); }
  bool changes() const { return from_ != to(); }

  // Lines of pixels that lie side by side -> out, u8 [lines, to]
  void scale_rows(const std::uint8_t* in, std::int64_t lines, std::uint8_t* out) const;
  // in: u8 [from, width] -> out, u8 [to, width]
  void scale_columns(const std::uint8_t* in, std::int64_t width, std::uint8_t* out) const;

 private:
  std::int64_t from_ = 0;
  std::vector<std::int32_t> first_;                 // of the pixels that make this one
  std::vector<std::vector<std::int32_t>> weights_;  // of those pixels, in 1 / 2^22
};

// The size that Resize makes of an image's.
Sides resized(const Resize& step, const Size& image);

// out: u8 [C, rows.to(), columns.to()]; scratch: the larger of H * columns.to() and W * rows.to() bytes
void resize_bilinear(const Picture& in, const LineScale& rows, const LineScale& columns, std::uint8_t* out,
                     std::uint8_t* scratch);
void resize_nearest(const Picture& in, Sides result, std::uint8_t* out);

}  // namespace mnistcnn::data::augmentation
