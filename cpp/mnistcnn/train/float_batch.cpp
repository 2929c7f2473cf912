#include "mnistcnn/train/float_batch.h"

namespace mnistcnn::train {

void gather(const engine::ImageBatch& batch, const network::Shape& shape, float* images) {
  const auto channels = static_cast<std::size_t>(shape[0]);
  const auto plane = static_cast<std::size_t>(shape[1] * shape[2]);
  for (const std::int64_t index : batch.indices) {
    const std::uint8_t* pixels = batch.images + static_cast<std::size_t>(index) * channels * plane;
    for (std::size_t channel = 0; channel < channels; ++channel) {
      const float scale = batch.scale[channel], shift = batch.shift[channel];
      for (std::size_t i = 0; i < plane; ++i) images[i] = static_cast<float>(pixels[i]) * scale + shift;
      pixels += plane;
      images += plane;
    }
  }
}

}  // namespace mnistcnn::train
