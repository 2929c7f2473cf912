#include "mnistcnn/data/augmentation/warp.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mnistcnn::data::augmentation {
namespace {

struct Plane {
  const std::uint8_t* pixels;
  int height, width;
  double end_y, end_x;

  bool contains(double x, double y) const { return x >= 0.0 && x < end_x && y >= 0.0 && y < end_y; }
};

Plane plane_of(const ImageView& image, std::int64_t channel) {
  const Size& size = image.size;
  return {image.pixels + channel * size.plane(), static_cast<int>(size.height), static_cast<int>(size.width),
          static_cast<double>(size.height), static_cast<double>(size.width)};
}

struct NearestPixel {
  static std::uint8_t at(const Plane& in, double x, double y) {
    return in.pixels[static_cast<int>(y) * in.width + static_cast<int>(x)];
  }
};

struct BilinearPixel {
  static int floor_of(double value) {
    const int towards_zero = static_cast<int>(value);
    return towards_zero - static_cast<int>(value < towards_zero);
  }
  static double interpolate(double a, double b, double fraction) { return a + (b - a) * fraction; }

  static std::uint8_t at(const Plane& in, double x, double y) {
    x -= 0.5;
    y -= 0.5;
    const int left = floor_of(x), top = floor_of(y);
    const double dx = x - left, dy = y - top;
    const int x0 = std::max(left, 0), x1 = std::min(left + 1, in.width - 1);
    const std::uint8_t* const row = in.pixels + std::max(top, 0) * in.width;
    const double above = interpolate(row[x0], row[x1], dx);
    if (top + 1 >= in.height) return static_cast<std::uint8_t>(above);
    const std::uint8_t* const next = in.pixels + (top + 1) * in.width;
    return static_cast<std::uint8_t>(interpolate(above, interpolate(next[x0], next[x1], dx), dy));
  }
};

// source(x, y) returns the input coordinates of output pixel (x, y).
template <class Pixel, class Source>
void warp_with(const ImageView& in, std::uint8_t fill, PlaneSize result, std::uint8_t* out, const Source& source) {
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const Plane plane = plane_of(in, c);
    for (int y = 0; y < result.height; ++y)
      for (int x = 0; x < result.width; ++x) {
        const Point from = source(x, y);
        *out++ = plane.contains(from.x, from.y) ? Pixel::at(plane, from.x, from.y) : fill;
      }
  }
}

template <class Source>
void warp_general(const ImageView& in, const WarpOptions& options, PlaneSize result, std::uint8_t* out,
                  const Source& source) {
  if (options.interpolation == Interpolation::kNearest)
    warp_with<NearestPixel>(in, options.fill, result, out, source);
  else
    warp_with<BilinearPixel>(in, options.fill, result, out, source);
}

// ---- affine transform with nearest neighbour interpolation

// Whether all input coordinates fit into 16.16 fixed point numbers.
bool fits_fixed_point(const Matrix& m, PlaneSize result) {
  const auto fits = [&](double x, double y) {
    return std::fabs(x * m[0] + y * m[1] + m[2]) < 32768.0 && std::fabs(x * m[3] + y * m[4] + m[5]) < 32768.0;
  };
  const auto width = static_cast<double>(result.width), height = static_cast<double>(result.height);
  return fits(0, 0) && fits(width, height) && fits(0, height) && fits(width, 0);
}

// Convert to 16.16 fixed point; unsigned, so that sums wrap around.
std::uint32_t fixed_point(double value) {
  return static_cast<std::uint32_t>(static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5)));
}

struct FixedPoint {
  std::uint32_t x, y;
};

// Compute one output row. Input coordinates are linear in x, so the pixels inside the image are contiguous: only the
// ends of the row need bounds checks.
void nearest_row(const Plane& in, FixedPoint at, FixedPoint step, std::uint8_t fill, int width, std::uint8_t* out) {
  const std::uint32_t end_x = static_cast<std::uint32_t>(in.width) << 16;
  const std::uint32_t end_y = static_cast<std::uint32_t>(in.height) << 16;
  const auto inside = [&](int x) {
    const auto times = static_cast<std::uint32_t>(x);
    return at.x + times * step.x < end_x && at.y + times * step.y < end_y;
  };
  int first = 0, end = width;
  while (first < width && !inside(first)) out[first++] = fill;
  while (end > first && !inside(end - 1)) out[--end] = fill;
  const auto row = static_cast<std::uint32_t>(in.width);
  std::uint32_t from_x = at.x + static_cast<std::uint32_t>(first) * step.x;
  std::uint32_t from_y = at.y + static_cast<std::uint32_t>(first) * step.y;
  for (int x = first; x < end; ++x) {
    out[x] = in.pixels[(from_y >> 16) * row + (from_x >> 16)];
    from_x += step.x;
    from_y += step.y;
  }
}

void warp_fixed_point(const ImageView& in, const Matrix& m, std::uint8_t fill, PlaneSize result, std::uint8_t* out) {
  const FixedPoint right{fixed_point(m[0]), fixed_point(m[3])}, down{fixed_point(m[1]), fixed_point(m[4])};
  const FixedPoint start{fixed_point(m[2] + m[0] * 0.5 + m[1] * 0.5), fixed_point(m[5] + m[3] * 0.5 + m[4] * 0.5)};
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const Plane plane = plane_of(in, c);
    FixedPoint at = start;
    for (std::int64_t y = 0; y < result.height; ++y) {
      nearest_row(plane, at, right, fill, static_cast<int>(result.width), out);
      out += result.width;
      at = {at.x + down.x, at.y + down.y};
    }
  }
}

// Accumulate the coordinates along rows and columns in double precision. Pillow does this for pure scaling and if fixed
// point numbers would overflow.
void warp_incremental(const ImageView& in, const Matrix& m, std::uint8_t fill, PlaneSize result, std::uint8_t* out) {
  const bool scaling = m[1] == 0 && m[3] == 0;
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const Plane plane = plane_of(in, c);
    Point row = scaling ? Point{m[2] + m[0] * 0.5, m[5] + m[4] * 0.5}
                        : Point{m[2] + m[1] * 0.5 + m[0] * 0.5, m[5] + m[4] * 0.5 + m[3] * 0.5};
    for (std::int64_t y = 0; y < result.height; ++y) {
      Point at = row;
      for (std::int64_t x = 0; x < result.width; ++x) {
        *out++ = plane.contains(at.x, at.y) ? NearestPixel::at(plane, at.x, at.y) : fill;
        at.x += m[0];
        at.y += m[3];
      }
      row.x += m[1];
      row.y += m[4];
    }
  }
}

}  // namespace

void warp(const ImageView& in, const Matrix& m, const WarpOptions& options, PlaneSize result, std::uint8_t* out) {
  if (options.interpolation == Interpolation::kNearest) {
    const bool scaling = m[1] == 0 && m[3] == 0;
    if (!scaling && fits_fixed_point(m, result)) return warp_fixed_point(in, m, options.fill, result, out);
    return warp_incremental(in, m, options.fill, result, out);
  }
  warp_with<BilinearPixel>(in, options.fill, result, out, [&](int column, int line) {
    const double x = column + 0.5, y = line + 0.5;
    return Point{m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]};
  });
}

void warp(const ImageView& in, const Homography& h, const WarpOptions& options, std::uint8_t* out) {
  warp_general(in, options, {in.size.height, in.size.width}, out, [&](int column, int line) {
    const double x = column + 0.5, y = line + 0.5;
    const double w = h[6] * x + h[7] * y + 1;
    return Point{(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w};
  });
}

void warp(const ImageView& in, const float* dx, const float* dy, const WarpOptions& options, std::uint8_t* out) {
  const std::int64_t width = in.size.width;
  warp_general(in, options, {in.size.height, width}, out, [&](int x, int y) {
    const std::int64_t at = y * width + x;
    return Point{x + 0.5 + static_cast<double>(dx[at]), y + 0.5 + static_cast<double>(dy[at])};
  });
}

void rotate_quarter_turns(const ImageView& in, int quarter_turns, std::uint8_t* out) {
  const std::int64_t height = in.size.height, width = in.size.width;
  for (std::int64_t c = 0; c < in.size.channels; ++c) {
    const std::uint8_t* const from = in.pixels + c * in.size.plane();
    if (quarter_turns == 0) std::memcpy(out, from, static_cast<std::size_t>(in.size.plane()));
    if (quarter_turns == 2) std::reverse_copy(from, from + in.size.plane(), out);
    for (std::int64_t i = 0; quarter_turns % 2 == 1 && i < in.size.plane(); ++i) {
      const std::int64_t y = i / height, x = i % height;  // position in the output, [W, H]
      out[i] = quarter_turns == 1 ? from[x * width + (width - 1 - y)] : from[(height - 1 - x) * width + y];
    }
    out += in.size.plane();
  }
}

}  // namespace mnistcnn::data::augmentation
