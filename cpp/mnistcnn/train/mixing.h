#pragma once
#include <cstdint>
#include <span>
#include <vector>

// Mixup and CutMix.
namespace mnistcnn::train {

// Mixes each image of a batch, and its label, with another image of the batch.
struct Mixing {
  enum class Kind {
    kMixup,   // share * image + (1 - share) * partner
    kCutMix,  // a box is replaced by that of the partner; share is the fraction of the area outside the box
  };
  Kind kind = Kind::kMixup;
  double alpha = 0.2;  // the share is drawn from Beta(alpha, alpha)
};

struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;  // [top, bottom) x [left, right)
};

// Random parameters of one batch.
struct MixingPlan {
  double share = 1;                    // weight of the image's own label
  std::vector<std::int64_t> partners;  // [B], indices in the batch, a permutation
  Box box;                             // for CutMix
};

// Draw the parameters of a batch of `count` images. Determined by the arguments.
MixingPlan draw(const Mixing& mixing, std::uint64_t seed, std::uint64_t step, std::int64_t count, std::int64_t height,
                std::int64_t width);

// Mix the images of a batch. images, mixed: f32 [B, channels, height, width]; they must not overlap.
void mix(const Mixing& mixing, const MixingPlan& plan, std::int64_t channels, std::int64_t height, std::int64_t width,
         std::span<const float> images, std::span<float> mixed);

}  // namespace mnistcnn::train
