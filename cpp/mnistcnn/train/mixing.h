#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mnistcnn::train {

// Every image of a batch is mixed with another one of the batch, and so are their labels.
struct Mixing {
  enum class Kind {
    kMixup,   // every pixel: share * image + (1 - share) * partner
    kCutMix,  // a box of the partner is pasted in; the share is the area that is left
  };
  Kind kind = Kind::kMixup;
  double alpha = 0.2;  // the share is drawn from Beta(alpha, alpha)
};

struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;  // [top, bottom) x [left, right)
};

// What is drawn for one batch.
struct MixingPlan {
  double share = 1;                    // of an image's own label
  std::vector<std::int64_t> partners;  // [B], a permutation of the batch
  Box box;                             // CutMix's
};

// A function of these numbers alone.
MixingPlan draw(const Mixing& mixing, std::uint64_t seed, std::uint64_t step, std::int64_t count, std::int64_t height,
                std::int64_t width);

// images: f32 [B, channels, height, width] -> mixed, of the same size, elsewhere
void mix(const Mixing& mixing, const MixingPlan& plan, std::int64_t channels, std::int64_t height, std::int64_t width,
         std::span<const float> images, std::span<float> mixed);

}  // namespace mnistcnn::train
