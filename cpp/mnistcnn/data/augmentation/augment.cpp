#include "mnistcnn/data/augmentation/augment.h"

#include <vector>

#include "mnistcnn/data/parallel.h"

namespace mnistcnn::data::augmentation {

void augment(const AugmentationPlan& plan, const std::uint8_t* images, std::span<const std::int64_t> indices,
             const AugmentOptions& options, std::uint8_t* out) {
  const std::int64_t in_bytes = plan.input().bytes(), out_bytes = plan.output().bytes();
  const std::size_t threads = threads_for(indices.size(), options.threads);
  std::vector<std::vector<std::byte>> scratch(threads, std::vector<std::byte>(plan.scratch_bytes()));
  parallel_for(indices.size(), threads, [&](std::size_t thread, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      plan.run({options.seed, options.epoch, indices[i]}, images + indices[i] * in_bytes,
               out + static_cast<std::int64_t>(i) * out_bytes, scratch[thread].data());
  });
}

}  // namespace mnistcnn::data::augmentation
