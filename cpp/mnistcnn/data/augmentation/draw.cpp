#include "mnistcnn/data/augmentation/draw.h"

#include <cmath>

#include "mnistcnn/data/augmentation/geometry.h"

namespace mnistcnn::data::augmentation {
namespace {

// Sequential access to the random numbers of one step.
class RandomSequence {
 public:
  explicit RandomSequence(const common::Stream& stream) : stream_(stream) {}

  bool chance(double probability) { return stream_.uniform(next_++) < probability; }
  double uniform(double low, double high) { return stream_.uniform(next_++, low, high); }
  double uniform(Range range) { return uniform(range.low, range.high); }
  // Return a uniform integer in {low, ..., high}.
  double integer(std::int64_t low, std::int64_t high) {
    return static_cast<double>(
        low + static_cast<std::int64_t>(stream_.below(next_++, static_cast<std::uint64_t>(high - low + 1))));
  }

 private:
  common::Stream stream_;
  std::uint64_t next_ = 0;
};

Numbers draw_values(const Rotation& step, const Size&, RandomSequence& random) {
  return {random.uniform(step.degrees)};
}

Numbers draw_values(const Affine& step, const Size& image, RandomSequence& random) {
  const double angle = random.uniform(step.degrees);
  const double max_x = step.translate.low * static_cast<double>(image.width);
  const double max_y = step.translate.high * static_cast<double>(image.height);
  const double x = std::nearbyint(random.uniform(-max_x, max_x)), y = std::nearbyint(random.uniform(-max_y, max_y));
  const double scale = random.uniform(step.scale);
  const double shear_x = random.uniform(step.shear[0], step.shear[1]);
  return {angle, x, y, scale, shear_x, random.uniform(step.shear[2], step.shear[3])};
}

Numbers draw_values(const Perspective& step, const Size& image, RandomSequence& random) {
  const std::int64_t right = image.width - 1, bottom = image.height - 1;
  const auto x = static_cast<std::int64_t>(step.distortion_scale * static_cast<double>(image.width / 2));
  const auto y = static_cast<std::int64_t>(step.distortion_scale * static_cast<double>(image.height / 2));
  const auto corner = [&](bool at_right, bool at_bottom) {
    Point point;
    point.x = at_right ? random.integer(right - x, right) : random.integer(0, x);
    point.y = at_bottom ? random.integer(bottom - y, bottom) : random.integer(0, y);
    return point;
  };
  std::array<Point, 4> ends;
  ends[0] = corner(false, false);
  ends[1] = corner(true, false);
  ends[2] = corner(true, true);
  ends[3] = corner(false, true);
  const auto w = static_cast<double>(right), h = static_cast<double>(bottom);
  // In very small images corners may coincide. Then the result is the identity.
  return homography({Point{0, 0}, {w, 0}, {w, h}, {0, h}}, ends).value_or(Homography{1, 0, 0, 0, 1, 0, 0, 0});
}

Numbers draw_values(const RandomCrop& step, const Size& image, RandomSequence& random) {
  const Padding& border = step.padding;
  const double top = random.integer(0, image.height + border.top + border.bottom - step.size.height);
  return {top, random.integer(0, image.width + border.left + border.right - step.size.width)};
}

// As in torchvision: up to ten attempts to draw a rectangle that is smaller than the image.
Numbers draw_values(const RandomErasing& step, const Size& image, RandomSequence& random) {
  const auto area = static_cast<double>(image.plane());
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double erased = area * random.uniform(step.scale);
    const double ratio = std::exp(random.uniform(std::log(step.ratio.low), std::log(step.ratio.high)));
    const double height = std::nearbyint(std::sqrt(erased * ratio)), width = std::nearbyint(std::sqrt(erased / ratio));
    if (height >= static_cast<double>(image.height) || width >= static_cast<double>(image.width)) continue;
    const double top = random.integer(0, image.height - static_cast<std::int64_t>(height));
    return {top, random.integer(0, image.width - static_cast<std::int64_t>(width)), height, width};
  }
  return {};
}

Numbers draw_values(const Cutout&, const Size& image, RandomSequence& random) {
  const double y = random.integer(0, image.height - 1);
  return {y, random.integer(0, image.width - 1)};
}

Numbers draw_values(const ColorJitter& step, const Size&, RandomSequence& random) {
  const double brightness = random.uniform(step.brightness), contrast = random.uniform(step.contrast);
  return {brightness, contrast, random.chance(0.5) ? 1.0 : 0.0};
}

Numbers draw_values(const MorphologicalThickness& step, const Size&, RandomSequence& random) {
  return {random.uniform(step.amount)};
}

template <class StepType>
Numbers draw_values(const StepType&, const Size&, RandomSequence&) {
  return {};
}

}  // namespace

DrawnStep draw(const Step& step, std::size_t position, const Size& image, const common::Stream& image_stream) {
  const common::Stream stream(image_stream.key(), common::Purpose::kAugment, position);
  RandomSequence random(stream);
  DrawnStep drawn{random.chance(probability(step)), {}, stream};
  if (!drawn.applied) return drawn;
  drawn.pixels = common::Stream(stream.key(), common::Purpose::kAugment);
  drawn.numbers = std::visit([&](const auto& each) { return draw_values(each, image, random); }, step);
  return drawn;
}

}  // namespace mnistcnn::data::augmentation
