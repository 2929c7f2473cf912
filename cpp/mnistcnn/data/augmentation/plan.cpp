#include "mnistcnn/data/augmentation/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "mnistcnn/common/text.h"
#include "mnistcnn/data/augmentation/fields.h"
#include "mnistcnn/data/augmentation/shades.h"

namespace mnistcnn::data::augmentation {
namespace {

using common::text;

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }
std::size_t bytes_of(std::int64_t count) { return aligned(static_cast<std::size_t>(count)); }

Size with_sides(const Size& size, Sides sides) { return {size.channels, sides.height, sides.width}; }
Sides sides_of(const Size& size) { return {size.height, size.width}; }
std::string words(const Size& size) { return text(size.height, " x ", size.width); }
std::string words(Sides sides) { return text("(", sides.height, ", ", sides.width, ")"); }

void check_crop(std::string_view name, Sides size, const Size& least) {
  if (size.height > least.height || size.width > least.width)
    throw std::invalid_argument(text(name, "(size=", words(size), ") is larger than the image, ", words(least),
                                     " (height x width) at that step; pad or resize before it"));
}

void check_fixed(const Resize& step, const Size& least, const Size& most) {
  if (step.size.width == 0 && least != most)
    throw std::invalid_argument(text("Resize(size=", step.size.height,
                                     ") names one side, but the images differ in size ", "at that step, from ",
                                     words(least), " to ", words(most), "; give both: Resize((height, width))"));
}

void check_sides(std::string_view name, Sides size) {
  if (std::max(size.height, size.width) > 2 * kLargestSide)
    throw std::invalid_argument(text(name, " makes images of ", size.height, " x ", size.width, ", which is more than ",
                                     2 * kLargestSide, " pixels a side"));
}

Size bordered(const Size& size, const Padding& border) {
  return {size.channels, size.height + border.top + border.bottom, size.width + border.left + border.right};
}

// Python's round((whole - part) / 2)
std::int64_t middle(std::int64_t whole, std::int64_t part) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(whole - part) / 2.0));
}

// Cuts out of an image that goes on as `fill` on all sides.
void cut(const Picture& in, std::int64_t top, std::int64_t left, Sides size, std::uint8_t fill, std::uint8_t* out) {
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

// ---- what each step does to pixels

// Everything but the step itself and what was prepared for it.
struct Task {
  const Numbers& numbers;
  const common::Stream& stream;
  const Picture& in;
  std::uint8_t* out;
  std::uint8_t* work;

  void copy() const { std::memcpy(out, in.pixels, static_cast<std::size_t>(in.size.bytes())); }
};

void apply_step(const Rotation& step, const Task& t) {
  const Turn found = turn(t.numbers[0], step.center, step.expand, sides_of(t.in.size));
  if (found.quarters >= 0) return rearrange(t.in, found.quarters, t.out);
  warp(t.in, found.matrix, {step.interpolation, step.fill}, found.size, t.out);
}

void apply_step(const Affine& step, const Task& t) {
  const Numbers& n = t.numbers;
  const Point image_middle{static_cast<double>(t.in.size.width) * 0.5, static_cast<double>(t.in.size.height) * 0.5};
  const Matrix matrix = affine_matrix({n[0], n[1], n[2], n[3], n[4], n[5]}, step.center.value_or(image_middle));
  warp(t.in, matrix, {step.interpolation, step.fill}, sides_of(t.in.size), t.out);
}

void apply_step(const Perspective& step, const Task& t) {
  warp(t.in, Homography(t.numbers), {step.interpolation, step.fill}, t.out);
}

void apply_step(const CenterCrop& step, const Task& t) {
  cut(t.in, middle(t.in.size.height, step.size.height), middle(t.in.size.width, step.size.width), step.size, 0, t.out);
}

void apply_step(const RandomCrop& step, const Task& t) {
  const auto top = static_cast<std::int64_t>(t.numbers[0]), left = static_cast<std::int64_t>(t.numbers[1]);
  cut(t.in, top - step.padding.top, left - step.padding.left, step.size, step.fill, t.out);
}

void apply_step(const RandomErasing& step, const Task& t) {
  const auto number = [&](std::size_t i) { return static_cast<std::int64_t>(t.numbers[i]); };
  const Rectangle where{number(0), number(1), number(2), number(3)};
  t.copy();
  if (step.value < 0) return paint_noise(t.out, t.in.size, where, t.stream);
  paint(t.out, t.in.size, where, static_cast<std::uint8_t>(step.value));
}

void apply_step(const Cutout& step, const Task& t) {
  const auto y = static_cast<std::int64_t>(t.numbers[0]), x = static_cast<std::int64_t>(t.numbers[1]);
  t.copy();
  paint(t.out, t.in.size, {y - step.size / 2, x - step.size / 2, step.size, step.size}, step.value);
}

void apply_step(const ColorJitter&, const Task& t) {
  t.copy();
  const bool contrast_first = t.numbers[2] != 0;
  if (contrast_first) change_contrast(t.out, t.in.size, t.numbers[1]);
  change_brightness(t.out, t.in.size, t.numbers[0]);
  if (!contrast_first) change_contrast(t.out, t.in.size, t.numbers[1]);
}

void apply_step(const GaussianNoise& step, const Task& t) {
  add_noise(t.stream, step.std, t.in.size.bytes(), t.in.pixels, t.out);
}

void apply_step(const MorphologicalThickness&, const Task& t) { thicken(t.in, t.numbers[0], t.out, t.work); }

void apply_step(const RandomApply&, const Task& t) { t.copy(); }

void apply_elastic(const ElasticDistortion& step, const std::vector<float>& half_kernel, const Task& t) {
  float* const dx = reinterpret_cast<float*>(t.work);
  float* const dy = dx + t.in.size.plane();
  const SmoothField field{half_kernel, static_cast<float>(step.alpha)};
  field.draw(t.stream, sides_of(t.in.size), dx, dy, dy + t.in.size.plane());
  warp(t.in, dx, dy, {step.interpolation, step.fill}, t.out);
}

}  // namespace

// ---- planning

Plan::Plan(std::vector<Step> steps, const Size& image)
    : steps_(std::move(steps)), prepared_(steps_.size()), input_(image) {
  picture_bytes_ = bytes_of(image.bytes());
  output_ = follow({image, image}, 0, steps_.size());
}

Plan::Sizes Plan::follow(Sizes sizes, std::size_t first, std::size_t end) {
  for (std::size_t i = first; i < end; ++i) {
    const Sizes before = sizes;
    const bool always = probability(steps_[i]) >= 1;
    if (const auto* group = std::get_if<RandomApply>(&steps_[i])) {
      const std::size_t last = std::min(end, i + 1 + static_cast<std::size_t>(group->count));
      sizes = follow(sizes, i + 1, last);
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
    sizes = {joined(before.least, sizes.least, smaller), joined(before.most, sizes.most, larger)};
  }
  return sizes;
}

// Checks a step and makes what it needs; returns the sizes behind it.
Plan::Sizes Plan::prepare(std::size_t position, const Sizes& sizes) {
  const Size &least = sizes.least, &most = sizes.most;
  Prepared& prepared = prepared_[position];
  Sizes after = sizes;
  std::size_t work = 0;
  const auto expand = [&](const Rotation& step) {
    if (!step.expand) return;
    const std::int64_t small = std::min(least.height, least.width);
    const auto large = static_cast<std::int64_t>(std::hypot(most.height, most.width)) + 3;
    after = {with_sides(least, {small, small}), with_sides(most, {large, large})};
  };
  const auto center_crop = [&](const CenterCrop& step) {
    check_crop(step.kName, step.size, least);
    after = {with_sides(least, step.size), with_sides(most, step.size)};
  };
  const auto random_crop = [&](const RandomCrop& step) {
    check_crop(step.kName, step.size, bordered(least, step.padding));
    after = {with_sides(least, step.size), with_sides(most, step.size)};
  };
  const auto resize = [&](const Resize& step) {
    check_fixed(step, least, most);
    const Sides to = resized(step, least);
    check_sides(step.kName, to);
    after = {with_sides(least, to), with_sides(most, to)};
    prepared.least = least;
    for (std::int64_t h = least.height; h <= most.height; ++h) prepared.rows.emplace_back(h, to.height);
    for (std::int64_t w = least.width; w <= most.width; ++w) prepared.columns.emplace_back(w, to.width);
    work = bytes_of(std::max(most.height * to.width, most.width * to.height));
  };
  const auto elastic = [&](const ElasticDistortion& step) {
    prepared.half_kernel = half_gaussian(step.sigma);
    const std::size_t floats = SmoothField::scratch_floats(prepared.half_kernel.size(), sides_of(most));
    work = aligned(sizeof(float) * (2 * static_cast<std::size_t>(most.plane()) + floats));
  };
  const auto thickness = [&](const MorphologicalThickness&) { work = bytes_of(3 * most.plane()); };
  const auto nothing = [](const auto&) {};
  std::visit(Overloaded{expand, center_crop, random_crop, resize, elastic, thickness, nothing}, steps_[position]);
  check_sides(name(steps_[position]), sides_of(after.most));
  picture_bytes_ = std::max(picture_bytes_, bytes_of(after.most.bytes()));
  work_bytes_ = std::max(work_bytes_, work);
  return after;
}

Size Plan::output() const {
  if (output_.least != output_.most)
    throw std::invalid_argument(text("the steps leave images of different sizes, from ", words(output_.least), " to ",
                                     words(output_.most), " (height x width); end with CenterCrop or Resize"));
  return output_.least;
}

// ---- running

Size Plan::size_after(std::size_t position, const Numbers& numbers, const Size& image) const {
  const auto rotation = [&](const Rotation& step) {
    return step.expand ? with_sides(image, turn(numbers[0], step.center, true, sides_of(image)).size) : image;
  };
  const auto center_crop = [&](const CenterCrop& step) { return with_sides(image, step.size); };
  const auto random_crop = [&](const RandomCrop& step) { return with_sides(image, step.size); };
  const auto resize = [&](const Resize& step) { return with_sides(image, resized(step, image)); };
  const auto same = [&](const auto&) { return image; };
  return std::visit(Overloaded{rotation, center_crop, random_crop, resize, same}, steps_[position]);
}

void Plan::apply(std::size_t position, const Drawn& drawn, const Picture& in, std::uint8_t* out,
                 std::uint8_t* work) const {
  const Prepared& prepared = prepared_[position];
  const Task task{drawn.numbers, drawn.pixels, in, out, work};
  const auto resize = [&](const Resize& step) {
    if (step.interpolation == Interpolation::kNearest) return resize_nearest(in, resized(step, in.size), out);
    const auto row = static_cast<std::size_t>(in.size.height - prepared.least.height);
    const auto column = static_cast<std::size_t>(in.size.width - prepared.least.width);
    resize_bilinear(in, prepared.rows[row], prepared.columns[column], out, work);
  };
  const auto elastic = [&](const ElasticDistortion& step) { apply_elastic(step, prepared.half_kernel, task); };
  const auto other = [&](const auto& step) { apply_step(step, task); };
  std::visit(Overloaded{resize, elastic, other}, steps_[position]);
}

void Plan::run(const Occasion& occasion, const std::uint8_t* image, std::uint8_t* out,
               std::byte* scratch) const noexcept {
  const common::Stream stream = stream_of_image(occasion.seed, occasion.epoch, occasion.index);
  std::uint8_t* const memory = reinterpret_cast<std::uint8_t*>(scratch);
  std::uint8_t* next = memory;
  Picture now{image, input_};
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Drawn drawn = draw(steps_[i], i, now.size, stream);
    if (const auto* group = std::get_if<RandomApply>(&steps_[i])) {
      if (!drawn.applied) i += static_cast<std::size_t>(group->count);
      continue;
    }
    if (!drawn.applied) continue;
    const Size size = size_after(i, drawn.numbers, now.size);
    std::uint8_t* const target = i + 1 == steps_.size() ? out : next;
    apply(i, drawn, now, target, memory + 2 * picture_bytes_);
    now = {target, size};
    next = next == memory ? memory + picture_bytes_ : memory;
  }
  if (now.pixels != out) std::memcpy(out, now.pixels, static_cast<std::size_t>(now.size.bytes()));
}

std::vector<Drawn> Plan::drawn(const Occasion& occasion) const {
  const common::Stream stream = stream_of_image(occasion.seed, occasion.epoch, occasion.index);
  std::vector<Drawn> all;
  Size size = input_;
  std::size_t left_out = 0;  // steps before this place are not done
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    all.push_back(i < left_out ? Drawn{false, {}, stream} : draw(steps_[i], i, size, stream));
    const auto* group = std::get_if<RandomApply>(&steps_[i]);
    if (all.back().applied) size = size_after(i, all.back().numbers, size);
    if (group != nullptr && !all.back().applied)
      left_out = std::max(left_out, i + 1 + static_cast<std::size_t>(group->count));
  }
  return all;
}

Plan::Result Plan::apply_first(const Numbers& numbers, const std::uint8_t* image) const {
  Result result{size_after(0, numbers, input_), {}};
  result.pixels.resize(static_cast<std::size_t>(result.size.bytes()));
  std::vector<std::uint8_t> work(work_bytes_);
  apply(0, {true, numbers, stream_of_image(0, 0, 0)}, {image, input_}, result.pixels.data(), work.data());
  return result;
}

}  // namespace mnistcnn::data::augmentation
