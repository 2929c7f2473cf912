#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Buffers for images that an ImageSource generates (augmentation). Used by execution/batch_io.
namespace mnistcnn::engine::lanes {

// Per thread: the 16 images of a block, u8 [16][image_bytes], followed by the source's scratch memory.
class ImageStaging {
 public:
  void reserve(int threads, std::int64_t image_bytes, const ImageSource& source) {
    image_bytes_ = static_cast<std::size_t>(image_bytes);
    const std::size_t bytes = kLanes * image_bytes_ + source.scratch_bytes();
    memory_.resize(static_cast<std::size_t>(threads));
    for (std::vector<std::byte>& each : memory_)
      if (each.size() < bytes) each.resize(bytes);
  }

  // Generate an image and return its bytes. They are valid until the thread generates the next image for this lane.
  const std::uint8_t* read(const ImageSource& source, std::int64_t index, int lane, int thread) {
    std::byte* const memory = memory_[static_cast<std::size_t>(thread)].data();
    std::uint8_t* const image = reinterpret_cast<std::uint8_t*>(memory + static_cast<std::size_t>(lane) * image_bytes_);
    source.read(index, image, memory + kLanes * image_bytes_);
    return image;
  }

 private:
  std::size_t image_bytes_ = 0;
  std::vector<std::vector<std::byte>> memory_;  // one per thread
};

}  // namespace mnistcnn::engine::lanes
