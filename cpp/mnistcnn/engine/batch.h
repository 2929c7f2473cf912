#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

// Inputs of an engine and the result of a training step.
namespace mnistcnn::engine {

enum class Mode { kEvaluate, kTrain };

// What `forward` saves for `backward`.
enum class Keep { kNothing, kForParameters, kForParametersAndImages };

// Determines the dropout masks. The same two numbers give the same masks in every engine and with any number of
// threads.
struct Randomness {
  std::uint64_t seed = 0, step = 0;
};

// Source that computes the images of a batch on demand, for example augmented images. `read` may be called
// concurrently. The same index must give the same bytes in every call.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // Size in bytes of the scratch memory of `read`. Each thread has its own.
  virtual std::size_t scratch_bytes() const = 0;

  // Write image `index` of the data set to `image`, u8 [C, H, W].
  virtual void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept = 0;
};

// Images selected from a data set in memory. The input of the network is pixel * scale + shift for each channel.
struct ImageBatch {
  const std::uint8_t* images;             // u8 [N, C, H, W]
  std::span<const std::int64_t> indices;  // [B], positions in `images`
  std::span<const float> scale, shift;    // one per channel
  const ImageSource* source = nullptr;    // if not null, used instead of `images`
};

struct StepResult {
  double loss_sum = 0;  // sum over the images of the batch
  std::int64_t correct = 0;
};

}  // namespace mnistcnn::engine
