#include "mnistcnn/train/mixing.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "mnistcnn/common/random.h"

namespace mnistcnn::train {
namespace {

using common::Purpose;
using common::Stream;

// Purposes of the random streams of a batch: the second counter of Stream.
enum Draw : std::uint64_t { kOwnShare, kPartnersShare, kPartners, kBox };

// Return a uniform number in (0, 1], whose logarithm is finite.
double uniform_above_zero(const Stream& stream, std::uint64_t index) { return 1 - stream.uniform(index); }

double normal(const Stream& stream, std::uint64_t index) {
  return std::sqrt(-2 * std::log(uniform_above_zero(stream, index))) *
         std::cos(2 * std::numbers::pi * stream.uniform(index + 1));
}

// Return the logarithm of a sample of Gamma(alpha, 1). Method of Marsaglia and Tsang for alpha + 1, times U^(1 /
// alpha). For small alpha the sample itself would underflow, so its logarithm is computed.
double log_of_gamma_sample(double alpha, const Stream& stream) {
  const double d = alpha + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (std::uint64_t index = 1;; index += 3) {
    const double x = normal(stream, index), root = 1 + c * x, v = root * root * root;
    if (root <= 0) continue;
    if (std::log(uniform_above_zero(stream, index + 2)) < 0.5 * x * x + d * (1 - v + std::log(v)))
      return std::log(d * v) + std::log(uniform_above_zero(stream, 0)) / alpha;
  }
}

double beta_sample(double alpha, std::uint64_t seed, std::uint64_t step) {
  const auto gamma = [&](Draw draw) { return log_of_gamma_sample(alpha, Stream(seed, Purpose::kMix, step, draw)); };
  return 1 / (1 + std::exp(gamma(kPartnersShare) - gamma(kOwnShare)));
}

// Draw the box of the CutMix paper: with the aspect ratio of the image, a uniform centre, clipped to the image.
Box draw_box(double share, const Stream& stream, std::int64_t height, std::int64_t width) {
  const double side = std::sqrt(1 - share);
  const auto interval = [side](std::int64_t size, std::uint64_t centre) {
    const auto half = static_cast<std::int64_t>(side * static_cast<double>(size)) / 2;
    const auto middle = static_cast<std::int64_t>(centre);
    return std::pair{std::max<std::int64_t>(middle - half, 0), std::min(middle + half, size)};
  };
  const auto [top, bottom] = interval(height, stream.below(0, static_cast<std::uint64_t>(height)));
  const auto [left, right] = interval(width, stream.below(1, static_cast<std::uint64_t>(width)));
  return {top, left, bottom, right};
}

void paste(const Box& box, std::int64_t width, const float* from, float* plane) {
  for (std::int64_t row = box.top; row < box.bottom; ++row)
    std::copy(from + row * width + box.left, from + row * width + box.right, plane + row * width + box.left);
}

}  // namespace

MixingPlan draw(const Mixing& mixing, std::uint64_t seed, std::uint64_t step, std::int64_t count, std::int64_t height,
                std::int64_t width) {
  MixingPlan plan;
  plan.share = beta_sample(mixing.alpha, seed, step);
  plan.partners.resize(static_cast<std::size_t>(count));
  std::iota(plan.partners.begin(), plan.partners.end(), 0);
  const Stream stream(seed, Purpose::kMix, step, kPartners);
  for (std::size_t last = plan.partners.size(); last > 1; --last)
    std::swap(plan.partners[last - 1], plan.partners[stream.below(last, last)]);
  if (mixing.kind == Mixing::Kind::kCutMix) {
    plan.box = draw_box(plan.share, Stream(seed, Purpose::kMix, step, kBox), height, width);
    const std::int64_t area = (plan.box.bottom - plan.box.top) * (plan.box.right - plan.box.left);
    plan.share = 1 - static_cast<double>(area) / static_cast<double>(height * width);
  }
  return plan;
}

void mix(const Mixing& mixing, const MixingPlan& plan, std::int64_t channels, std::int64_t height, std::int64_t width,
         std::span<const float> images, std::span<float> mixed) {
  const std::int64_t plane = height * width, size = channels * plane;
  const auto own = static_cast<float>(plan.share), other = static_cast<float>(1 - plan.share);
  for (std::size_t image = 0; image < plan.partners.size(); ++image) {
    const float* const first = images.data() + static_cast<std::int64_t>(image) * size;
    const float* const second = images.data() + plan.partners[image] * size;
    float* const target = mixed.data() + static_cast<std::int64_t>(image) * size;
    if (mixing.kind == Mixing::Kind::kMixup) {
      for (std::int64_t i = 0; i < size; ++i) target[i] = own * first[i] + other * second[i];
      continue;
    }
    std::copy_n(first, size, target);
    for (std::int64_t channel = 0; channel < channels; ++channel)
      paste(plan.box, width, second + channel * plane, target + channel * plane);
  }
}

}  // namespace mnistcnn::train
