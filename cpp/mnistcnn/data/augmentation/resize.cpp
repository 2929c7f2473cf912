#include "mnistcnn/data/augmentation/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mnistcnn::data::augmentation {
namespace {

constexpr int kBits = 22;  // fractional bits of a weight

std::uint8_t to_byte(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

}  // namespace

AxisResampler::AxisResampler(std::int64_t from, std::int64_t to) : from_(from) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(scale, 1.0), narrowing = 1.0 / support;
  std::vector<double> exact;
  for (std::int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = static_cast<std::int64_t>(std::max(0.0, center - support + 0.5));
    const std::int64_t end = std::min(from, static_cast<std::int64_t>(center + support + 0.5));
    exact.clear();
    double sum = 0;
    for (std::int64_t pixel = first; pixel < end; ++pixel) {
      exact.push_back(triangle((static_cast<double>(pixel) - center + 0.5) * narrowing));
      sum += exact.back();
    }
    std::vector<std::int32_t> weights;
    for (const double weight : exact)
      weights.push_back(static_cast<std::int32_t>(0.5 + (sum == 0 ? weight : weight / sum) * (1 << kBits)));
    first_.push_back(static_cast<std::int32_t>(first));
    weights_.push_back(std::move(weights));
  }
}

void AxisResampler::scale_rows(const std::uint8_t* in, std::int64_t lines, std::uint8_t* out) const {
  for (std::int64_t line = 0; line < lines; ++line, in += from_)
    for (std::size_t i = 0; i < first_.size(); ++i) {
      std::int32_t sum = 1 << (kBits - 1);
      const std::uint8_t* pixel = in + first_[i];
      for (const std::int32_t weight : weights_[i]) sum += *pixel++ * weight;
      *out++ = to_byte(sum);
    }
}

void AxisResampler::scale_columns(const std::uint8_t* in, std::int64_t width, std::uint8_t* out) const {
  for (std::size_t i = 0; i < first_.size(); ++i)
    for (std::int64_t x = 0; x < width; ++x) {
      std::int32_t sum = 1 << (kBits - 1);
      const std::uint8_t* pixel = in + first_[i] * width + x;
      for (const std::int32_t weight : weights_[i]) {
        sum += *pixel * weight;
        pixel += width;
      }
      *out++ = to_byte(sum);
    }
}

PlaneSize resized(const Resize& step, const Size& image) {
  if (step.size.width > 0) return step.size;
  const std::int64_t shorter = std::min(image.height, image.width), longer = std::max(image.height, image.width);
  const std::int64_t other = step.size.height * longer / shorter;
  return image.width <= image.height ? PlaneSize{other, step.size.height} : PlaneSize{step.size.height, other};
}

void resize_bilinear(const ImageView& in, const AxisResampler& rows, const AxisResampler& columns, std::uint8_t* out,
                     std::uint8_t* scratch) {
  const Size& size = in.size;
  const std::int64_t height = rows.to(), width = columns.to();
  const bool both = rows.changes() && columns.changes();
  const bool rows_first = both && height < size.height && size.height - height > 2 * (size.width - width);
  for (std::int64_t c = 0; c < size.channels; ++c, out += height * width) {
    const std::uint8_t* const plane = in.pixels + c * size.plane();
    if (rows_first) {
      rows.scale_columns(plane, size.width, scratch);
      columns.scale_rows(scratch, height, out);
    } else if (both) {
      columns.scale_rows(plane, size.height, scratch);
      rows.scale_columns(scratch, width, out);
    } else if (rows.changes()) {
      rows.scale_columns(plane, width, out);
    } else if (columns.changes()) {
      columns.scale_rows(plane, height, out);
    } else {
      std::memcpy(out, plane, static_cast<std::size_t>(size.plane()));
    }
  }
}

void resize_nearest(const ImageView& in, PlaneSize result, std::uint8_t* out) {
  const double x_scale = static_cast<double>(in.size.width) / static_cast<double>(result.width);
  const double y_scale = static_cast<double>(in.size.height) / static_cast<double>(result.height);
  warp(in, Matrix{x_scale, 0, 0, 0, y_scale, 0}, {Interpolation::kNearest, 0}, result, out);
}

}  // namespace mnistcnn::data::augmentation
