#include "mnistcnn/data/augmentation/augment.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "mnistcnn/common/cores.h"

namespace mnistcnn::data::augmentation {

void augment(const Plan& plan, const std::uint8_t* images, std::span<const std::int64_t> indices,
             const AugmentOptions& options, std::uint8_t* out) {
  constexpr std::size_t kImagesPerThread = 64;  // fewer are not worth a thread
  const std::int64_t in_bytes = plan.input().bytes(), out_bytes = plan.output().bytes();
  const auto work = [&](std::size_t begin, std::size_t end, std::byte* scratch) {
    for (std::size_t i = begin; i < end; ++i)
      plan.run({options.seed, options.epoch, indices[i]}, images + indices[i] * in_bytes,
               out + static_cast<std::int64_t>(i) * out_bytes, scratch);
  };
  const auto wanted = static_cast<std::size_t>(options.threads > 0 ? options.threads : common::available_cores());
  const std::size_t count = indices.size();
  const std::size_t threads = std::clamp<std::size_t>(count / kImagesPerThread, 1, std::min<std::size_t>(wanted, 256));
  std::vector<std::vector<std::byte>> scratch(threads, std::vector<std::byte>(plan.scratch_bytes()));
  std::vector<std::jthread> team;
  for (std::size_t t = 1; t < threads; ++t)
    team.emplace_back(work, count * t / threads, count * (t + 1) / threads, scratch[t].data());
  work(0, count / threads, scratch[0].data());
}

}  // namespace mnistcnn::data::augmentation
