#include "mnistcnn/data/augmentation/draw.h"

#include <cmath>

#include "mnistcnn/data/augmentation/geometry.h"

namespace mnistcnn::data::augmentation {
namespace {

// The random numbers of one step, taken one after the other.
class Draws {
 public:
  explicit Draws(const common::Stream& stream) : stream_(stream) {}

  bool chance(double probability) { return stream_.uniform(next_++) < probability; }
  double uniform(double low, double high) { return stream_.uniform(next_++, low, high); }
  double uniform(Range range) { return uniform(range.low, range.high); }
  // {low, ..., high}
  double whole(std::int64_t low, std::int64_t high) {
    return static_cast<double>(
        low + static_cast<std::int64_t>(stream_.below(next_++, static_cast<std::uint64_t>(high - low + 1))));
  }

 private:
  common::Stream stream_;
  std::uint64_t next_ = 0;
};

Numbers numbers(const Rotation& step, const Size&, Draws& draws) { return {draws.uniform(step.degrees)}; }

Numbers numbers(const Affine& step, const Size& image, Draws& draws) {
  const double angle = draws.uniform(step.degrees);
  const double most_x = step.translate.low * static_cast<double>(image.width);
  const double most_y = step.translate.high * static_cast<double>(image.height);
  const double x = std::nearbyint(draws.uniform(-most_x, most_x)), y = std::nearbyint(draws.uniform(-most_y, most_y));
  const double scale = draws.uniform(step.scale);
  const double shear_x = draws.uniform(step.shear[0], step.shear[1]);
  return {angle, x, y, scale, shear_x, draws.uniform(step.shear[2], step.shear[3])};
}

Numbers numbers(const Perspective& step, const Size& image, Draws& draws) {
  const std::int64_t right = image.width - 1, bottom = image.height - 1;
  const auto x = static_cast<std::int64_t>(step.distortion_scale * static_cast<double>(image.width / 2));
  const auto y = static_cast<std::int64_t>(step.distortion_scale * static_cast<double>(image.height / 2));
  const auto corner = [&](bool at_right, bool at_bottom) {
    Point point;
    point.x = at_right ? draws.whole(right - x, right) : draws.whole(0, x);
    point.y = at_bottom ? draws.whole(bottom - y, bottom) : draws.whole(0, y);
    return point;
  };
  std::array<Point, 4> ends;
  ends[0] = corner(false, false);
  ends[1] = corner(true, false);
  ends[2] = corner(true, true);
  ends[3] = corner(false, true);
  const auto w = static_cast<double>(right), h = static_cast<double>(bottom);
  // Corners that meet, in images of few pixels, change nothing.
  return homography({Point{0, 0}, {w, 0}, {w, h}, {0, h}}, ends).value_or(Homography{1, 0, 0, 0, 1, 0, 0, 0});
}

Numbers numbers(const RandomCrop& step, const Size& image, Draws& draws) {
  const Padding& border = step.padding;
  const double top = draws.whole(0, image.height + border.top + border.bottom - step.size.height);
  return {top, draws.whole(0, image.width + border.left + border.right - step.size.width)};
}

// torchvision's way: ten tries to find a rectangle that is smaller than the image.
Numbers numbers(const RandomErasing& step, const Size& image, Draws& draws) {
  const auto area = static_cast<double>(image.plane());
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double erased = area * draws.uniform(step.scale);
    const double ratio = std::exp(draws.uniform(std::log(step.ratio.low), std::log(step.ratio.high)));
    const double height = std::nearbyint(std::sqrt(erased * ratio)), width = std::nearbyint(std::sqrt(erased / ratio));
    if (height >= static_cast<double>(image.height) || width >= static_cast<double>(image.width)) continue;
    const double top = draws.whole(0, image.height - static_cast<std::int64_t>(height));
    return {top, draws.whole(0, image.width - static_cast<std::int64_t>(width)), height, width};
  }
  return {};
}

Numbers numbers(const Cutout&, const Size& image, Draws& draws) {
  const double y = draws.whole(0, image.height - 1);
  return {y, draws.whole(0, image.width - 1)};
}

Numbers numbers(const ColorJitter& step, const Size&, Draws& draws) {
  const double brightness = draws.uniform(step.brightness), contrast = draws.uniform(step.contrast);
  return {brightness, contrast, draws.chance(0.5) ? 1.0 : 0.0};
}

Numbers numbers(const MorphologicalThickness& step, const Size&, Draws& draws) { return {draws.uniform(step.amount)}; }

template <class Other>
Numbers numbers(const Other&, const Size&, Draws&) {
  return {};
}

}  // namespace

Drawn draw(const Step& step, std::size_t position, const Size& image, const common::Stream& of_image) {
  const common::Stream stream(of_image.key(), common::Purpose::kAugment, position);
  Draws draws(stream);
  Drawn drawn{draws.chance(probability(step)), {}, stream};
  if (!drawn.applied) return drawn;
  drawn.pixels = common::Stream(stream.key(), common::Purpose::kAugment);
  drawn.numbers = std::visit([&](const auto& each) { return numbers(each, image, draws); }, step);
  return drawn;
}

}  // namespace mnistcnn::data::augmentation
