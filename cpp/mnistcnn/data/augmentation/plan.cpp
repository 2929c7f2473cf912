#include "mnistcnn/data/augmentation/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "mnistcnn/common/text.h"
#include "mnistcnn/data/augmentation/fields.h"
#include "mnistcnn/data/augmentation/pixel_ops.h"

namespace mnistcnn::data::augmentation {
namespace {

using common::text;

constexpr std::int64_t kMaxBytes = std::int64_t{1} << 31;  // of an input image

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }
std::size_t bytes_of(std::int64_t count) { return aligned(static_cast<std::size_t>(count)); }

Size with_plane_size(const Size& size, PlaneSize plane_size) {
  return {size.channels, plane_size.height, plane_size.width};
}
PlaneSize plane_size_of(const Size& size) { return {size.height, size.width}; }
std::string dimensions(const Size& size) { return text(size.height, " x ", size.width); }
std::string dimensions(PlaneSize plane_size) { return text("(", plane_size.height, ", ", plane_size.width, ")"); }

void check_crop(std::string_view name, PlaneSize size, const Size& smallest) {
  if (size.height > smallest.height || size.width > smallest.width)
    throw std::invalid_argument(text(name, "(size=", dimensions(size), ") is larger than the image, ",
                                     dimensions(smallest),
                                     " (height x width) at this step; pad or resize the images before it"));
}

void check_fixed(const Resize& step, const Size& smallest, const Size& largest) {
  if (step.size.width == 0 && smallest != largest)
    throw std::invalid_argument(text("Resize(size=", step.size.height,
                                     ") gives only the shorter side, but the images at this step ",
                                     "have different sizes, from ", dimensions(smallest), " to ", dimensions(largest),
                                     " (height x width); give both sides: Resize((height, width))"));
}

void check_plane_size(std::string_view name, PlaneSize size) {
  if (std::max(size.height, size.width) > 2 * kLargestSide)
    throw std::invalid_argument(text(name, " produces images of up to ", size.height, " x ", size.width,
                                     " pixels; the maximum is ", 2 * kLargestSide, " pixels per side"));
}

// Throw std::invalid_argument unless the size of the input images is valid. Larger images would overflow the arithmetic
// of the steps.
const Size& checked_input(const Size& image) {
  const bool valid = image.channels >= 1 && image.height >= 1 && image.width >= 1 &&
                     image.height <= kMaxBytes / image.width && image.channels <= kMaxBytes / image.plane();
  if (!valid)
    throw std::invalid_argument(text("images must be [channels, height, width], each at least 1, and have at most ",
                                     kMaxBytes, " bytes; got [", image.channels, ", ", image.height, ", ", image.width,
                                     "]"));
  return image;
}

Size padded(const Size& size, const Padding& border) {
  return {size.channels, size.height + border.top + border.bottom, size.width + border.left + border.right};
}

// Equivalent to Python's round((size - crop_size) / 2).
std::int64_t centered_offset(std::int64_t size, std::int64_t crop_size) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(size - crop_size) / 2.0));
}

// Copy a window of the image. Pixels outside the image are `fill`.
void copy_window(const ImageView& in, std::int64_t top, std::int64_t left, PlaneSize size, std::uint8_t fill,
                 std::uint8_t* out) {
  const std::int64_t begin = std::clamp<std::int64_t>(-left, 0, size.width);
  const std::int64_t end = std::clamp<std::int64_t>(in.size.width - left, begin, size.width);
  for (std::int64_t c = 0; c < in.size.channels; ++c)
    for (std::int64_t y = top; y < top + size.height; ++y, out += size.width) {
      if (y < 0 || y >= in.size.height) {
        std::memset(out, fill, static_cast<std::size_t>(size.width));
        continue;
      }
      const std::uint8_t* const row = in.pixels + (c * in.size.height + y) * in.size.width + left;
      std::memset(out, fill, static_cast<std::size_t>(begin));
      std::memcpy(out + begin, row + begin, static_cast<std::size_t>(end - begin));
      std::memset(out + end, fill, static_cast<std::size_t>(size.width - end));
    }
}

// ---- apply a step to pixels

// Input and output of a step. in: u8 [C, H, W], out: u8 of the size after the step, work: work_bytes_ of scratch
// memory.
struct StepContext {
  const Numbers& numbers;
  const common::Stream& stream;
  const ImageView& in;
  std::uint8_t* out;
  std::uint8_t* work;

  void copy() const { std::memcpy(out, in.pixels, static_cast<std::size_t>(in.size.bytes())); }
};

void apply_step(const Rotation& step, const StepContext& t) {
  const RotationTransform found = rotation_transform(t.numbers[0], step.center, step.expand, plane_size_of(t.in.size));
  if (found.quarter_turns >= 0) return rotate_quarter_turns(t.in, found.quarter_turns, t.out);
  warp(t.in, found.matrix, {step.interpolation, step.fill}, found.size, t.out);
}

void apply_step(const Affine& step, const StepContext& t) {
  const Numbers& n = t.numbers;
  const Point image_middle{static_cast<double>(t.in.size.width) * 0.5, static_cast<double>(t.in.size.height) * 0.5};
  const Matrix matrix = affine_matrix({n[0], n[1], n[2], n[3], n[4], n[5]}, step.center.value_or(image_middle));
  warp(t.in, matrix, {step.interpolation, step.fill}, plane_size_of(t.in.size), t.out);
}

void apply_step(const Perspective& step, const StepContext& t) {
  warp(t.in, Homography(t.numbers), {step.interpolation, step.fill}, t.out);
}

void apply_step(const CenterCrop& step, const StepContext& t) {
  copy_window(t.in, centered_offset(t.in.size.height, step.size.height),
              centered_offset(t.in.size.width, step.size.width), step.size, 0, t.out);
}

void apply_step(const RandomCrop& step, const StepContext& t) {
  const auto top = static_cast<std::int64_t>(t.numbers[0]), left = static_cast<std::int64_t>(t.numbers[1]);
  copy_window(t.in, top - step.padding.top, left - step.padding.left, step.size, step.fill, t.out);
}

void apply_step(const RandomErasing& step, const StepContext& t) {
  const auto number = [&](std::size_t i) { return static_cast<std::int64_t>(t.numbers[i]); };
  const Rectangle where{number(0), number(1), number(2), number(3)};
  t.copy();
  if (step.value < 0) return fill_rectangle_with_noise(t.out, t.in.size, where, t.stream);
  fill_rectangle(t.out, t.in.size, where, static_cast<std::uint8_t>(step.value));
}

void apply_step(const Cutout& step, const StepContext& t) {
  const auto y = static_cast<std::int64_t>(t.numbers[0]), x = static_cast<std::int64_t>(t.numbers[1]);
  t.copy();
  fill_rectangle(t.out, t.in.size, {y - step.size / 2, x - step.size / 2, step.size, step.size}, step.value);
}

void apply_step(const ColorJitter&, const StepContext& t) {
  t.copy();
  const bool contrast_first = t.numbers[2] != 0;
  if (contrast_first) change_contrast(t.out, t.in.size, t.numbers[1]);
  change_brightness(t.out, t.in.size, t.numbers[0]);
  if (!contrast_first) change_contrast(t.out, t.in.size, t.numbers[1]);
}

void apply_step(const GaussianNoise& step, const StepContext& t) {
  add_noise(t.stream, step.std, t.in.size.bytes(), t.in.pixels, t.out);
}

void apply_step(const MorphologicalThickness&, const StepContext& t) {
  dilate_or_erode(t.in, t.numbers[0], t.out, t.work);
}

void apply_step(const RandomApply&, const StepContext& t) { t.copy(); }

void apply_elastic(const ElasticDistortion& step, const std::vector<float>& half_kernel, const StepContext& t) {
  float* const dx = reinterpret_cast<float*>(t.work);
  float* const dy = dx + t.in.size.plane();
  const DisplacementField field{half_kernel, static_cast<float>(step.alpha)};
  field.draw(t.stream, plane_size_of(t.in.size), dx, dy, dy + t.in.size.plane());
  warp(t.in, dx, dy, {step.interpolation, step.fill}, t.out);
}

}  // namespace

// ---- planning

AugmentationPlan::AugmentationPlan(std::vector<Step> steps, const Size& image)
    : steps_(std::move(steps)), prepared_(steps_.size()), input_(checked_input(image)) {
  image_bytes_ = bytes_of(image.bytes());
  output_ = propagate_sizes({image, image}, 0, steps_.size());
}

AugmentationPlan::SizeRange AugmentationPlan::propagate_sizes(SizeRange sizes, std::size_t first, std::size_t end) {
  for (std::size_t i = first; i < end; ++i) {
    const SizeRange before = sizes;
    const bool always = probability(steps_[i]) >= 1;
    if (const auto* group = std::get_if<RandomApply>(&steps_[i])) {
      const std::size_t last = std::min(end, i + 1 + static_cast<std::size_t>(group->count));
      sizes = propagate_sizes(sizes, i + 1, last);
      i = last - 1;
    } else {
      sizes = prepare(i, sizes);
    }
    if (always) continue;
    const auto joined = [](const Size& a, const Size& b, auto choose) {
      return Size{a.channels, choose(a.height, b.height), choose(a.width, b.width)};
    };
    const auto smaller = [](std::int64_t a, std::int64_t b) { return std::min(a, b); };
    const auto larger = [](std::int64_t a, std::int64_t b) { return std::max(a, b); };
    sizes = {joined(before.smallest, sizes.smallest, smaller), joined(before.largest, sizes.largest, larger)};
  }
  return sizes;
}

// Check a step, precompute its tables, and return the range of image sizes after it.
AugmentationPlan::SizeRange AugmentationPlan::prepare(std::size_t position, const SizeRange& sizes) {
  const Size &smallest = sizes.smallest, &largest = sizes.largest;
  Prepared& prepared = prepared_[position];
  SizeRange after = sizes;
  std::size_t work = 0;
  const auto expand = [&](const Rotation& step) {
    if (!step.expand) return;
    const std::int64_t small = std::min(smallest.height, smallest.width);
    const auto large = static_cast<std::int64_t>(std::hypot(largest.height, largest.width)) + 3;
    after = {with_plane_size(smallest, {small, small}), with_plane_size(largest, {large, large})};
  };
  const auto center_crop = [&](const CenterCrop& step) {
    check_crop(step.kName, step.size, smallest);
    after = {with_plane_size(smallest, step.size), with_plane_size(largest, step.size)};
  };
  const auto random_crop = [&](const RandomCrop& step) {
    check_crop(step.kName, step.size, padded(smallest, step.padding));
    after = {with_plane_size(smallest, step.size), with_plane_size(largest, step.size)};
  };
  const auto resize = [&](const Resize& step) {
    check_fixed(step, smallest, largest);
    const PlaneSize to = resized(step, smallest);
    check_plane_size(step.kName, to);
    after = {with_plane_size(smallest, to), with_plane_size(largest, to)};
    prepared.smallest = smallest;
    for (std::int64_t h = smallest.height; h <= largest.height; ++h) prepared.rows.emplace_back(h, to.height);
    for (std::int64_t w = smallest.width; w <= largest.width; ++w) prepared.columns.emplace_back(w, to.width);
    work = bytes_of(std::max(largest.height * to.width, largest.width * to.height));
  };
  const auto elastic = [&](const ElasticDistortion& step) {
    prepared.half_kernel = half_gaussian(step.sigma);
    const std::size_t floats = DisplacementField::scratch_floats(prepared.half_kernel.size(), plane_size_of(largest));
    work = aligned(sizeof(float) * (2 * static_cast<std::size_t>(largest.plane()) + floats));
  };
  const auto thickness = [&](const MorphologicalThickness&) { work = bytes_of(3 * largest.plane()); };
  const auto no_change = [](const auto&) {};
  std::visit(Overloaded{expand, center_crop, random_crop, resize, elastic, thickness, no_change}, steps_[position]);
  check_plane_size(name(steps_[position]), plane_size_of(after.largest));
  image_bytes_ = std::max(image_bytes_, bytes_of(after.largest.bytes()));
  work_bytes_ = std::max(work_bytes_, work);
  return after;
}

Size AugmentationPlan::output() const {
  if (output_.smallest != output_.largest)
    throw std::invalid_argument(text("the augmentation produces images of different sizes, from ",
                                     dimensions(output_.smallest), " to ", dimensions(output_.largest),
                                     " (height x width); add CenterCrop or Resize as the last step"));
  return output_.smallest;
}

// ---- running

Size AugmentationPlan::size_after(std::size_t position, const Numbers& numbers, const Size& image) const {
  const auto rotation = [&](const Rotation& step) {
    return step.expand
               ? with_plane_size(image, rotation_transform(numbers[0], step.center, true, plane_size_of(image)).size)
               : image;
  };
  const auto center_crop = [&](const CenterCrop& step) { return with_plane_size(image, step.size); };
  const auto random_crop = [&](const RandomCrop& step) { return with_plane_size(image, step.size); };
  const auto resize = [&](const Resize& step) { return with_plane_size(image, resized(step, image)); };
  const auto same = [&](const auto&) { return image; };
  return std::visit(Overloaded{rotation, center_crop, random_crop, resize, same}, steps_[position]);
}

void AugmentationPlan::apply(std::size_t position, const DrawnStep& drawn, const ImageView& in, std::uint8_t* out,
                             std::uint8_t* work) const {
  const Prepared& prepared = prepared_[position];
  const StepContext context{drawn.numbers, drawn.pixels, in, out, work};
  const auto resize = [&](const Resize& step) {
    if (step.interpolation == Interpolation::kNearest) return resize_nearest(in, resized(step, in.size), out);
    const auto row = static_cast<std::size_t>(in.size.height - prepared.smallest.height);
    const auto column = static_cast<std::size_t>(in.size.width - prepared.smallest.width);
    resize_bilinear(in, prepared.rows[row], prepared.columns[column], out, work);
  };
  const auto elastic = [&](const ElasticDistortion& step) { apply_elastic(step, prepared.half_kernel, context); };
  const auto other = [&](const auto& step) { apply_step(step, context); };
  std::visit(Overloaded{resize, elastic, other}, steps_[position]);
}

void AugmentationPlan::run(const SampleKey& key, const std::uint8_t* image, std::uint8_t* out,
                           std::byte* scratch) const noexcept {
  const common::Stream stream = stream_of_image(key.seed, key.epoch, key.index);
  std::uint8_t* const memory = reinterpret_cast<std::uint8_t*>(scratch);
  std::uint8_t* next = memory;
  ImageView current{image, input_};
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const DrawnStep drawn = draw(steps_[i], i, current.size, stream);
    if (const auto* group = std::get_if<RandomApply>(&steps_[i])) {
      if (!drawn.applied) i += static_cast<std::size_t>(group->count);
      continue;
    }
    if (!drawn.applied) continue;
    const Size size = size_after(i, drawn.numbers, current.size);
    std::uint8_t* const target = i + 1 == steps_.size() ? out : next;
    apply(i, drawn, current, target, memory + 2 * image_bytes_);
    current = {target, size};
    next = next == memory ? memory + image_bytes_ : memory;
  }
  if (current.pixels != out) std::memcpy(out, current.pixels, static_cast<std::size_t>(current.size.bytes()));
}

std::vector<DrawnStep> AugmentationPlan::draw_all(const SampleKey& key) const {
  const common::Stream stream = stream_of_image(key.seed, key.epoch, key.index);
  std::vector<DrawnStep> all;
  Size size = input_;
  std::size_t skip_until = 0;  // steps before this position are skipped
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    all.push_back(i < skip_until ? DrawnStep{false, {}, stream} : draw(steps_[i], i, size, stream));
    const auto* group = std::get_if<RandomApply>(&steps_[i]);
    if (all.back().applied) size = size_after(i, all.back().numbers, size);
    if (group != nullptr && !all.back().applied)
      skip_until = std::max(skip_until, i + 1 + static_cast<std::size_t>(group->count));
  }
  return all;
}

AugmentationPlan::Result AugmentationPlan::apply_first(const Numbers& numbers, const std::uint8_t* image) const {
  Result result{size_after(0, numbers, input_), {}};
  result.pixels.resize(static_cast<std::size_t>(result.size.bytes()));
  std::vector<std::uint8_t> work(work_bytes_);
  apply(0, {true, numbers, stream_of_image(0, 0, 0)}, {image, input_}, result.pixels.data(), work.data());
  return result;
}

}  // namespace mnistcnn::data::augmentation
