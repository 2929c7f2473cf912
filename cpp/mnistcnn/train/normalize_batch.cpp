#include "mnistcnn/train/normalize_batch.h"

#include <ATen/Parallel.h>

#include <vector>

#include "mnistcnn/data/normalization.h"

namespace mnistcnn::train {
namespace {

constexpr std::int64_t kImagesPerThread = 64;  // minimum, so that the work outweighs the cost of a thread

// Reads the pixels of single images from memory or from an ImageSource.
class Reader {
 public:
  Reader(const engine::ImageBatch& batch, std::size_t size)
      : batch_(batch),
        size_(size),
        image_(batch.source == nullptr ? 0 : size),
        scratch_(batch.source == nullptr ? 0 : batch.source->scratch_bytes()) {}

  const std::uint8_t* read(std::int64_t index) {
    if (batch_.source == nullptr) return batch_.images + static_cast<std::size_t>(index) * size_;
    batch_.source->read(index, image_.data(), scratch_.data());
    return image_.data();
  }

 private:
  const engine::ImageBatch& batch_;
  std::size_t size_;
  std::vector<std::uint8_t> image_;
  std::vector<std::byte> scratch_;
};

}  // namespace

void normalize_batch(const engine::ImageBatch& batch, const network::Shape& shape, std::span<float> images) {
  const auto channels = static_cast<std::size_t>(shape[0]);
  const auto plane = static_cast<std::size_t>(shape[1] * shape[2]);
  const auto convert = [&](std::int64_t begin, std::int64_t end) {
    Reader reader(batch, channels * plane);
    for (auto image = static_cast<std::size_t>(begin); image < static_cast<std::size_t>(end); ++image) {
      const std::uint8_t* const pixels = reader.read(batch.indices[image]);
      const std::span<float> target = images.subspan(image * channels * plane, channels * plane);
      for (std::size_t channel = 0; channel < channels; ++channel)
        data::scale_pixels({pixels + channel * plane, plane}, batch.scale[channel], batch.shift[channel],
                           target.subspan(channel * plane, plane));
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(batch.indices.size()), kImagesPerThread, convert);
}

}  // namespace mnistcnn::train
