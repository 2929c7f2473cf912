#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

// What enters an engine and what a step says of itself.
namespace mnistcnn::engine {

enum class Mode { kEvaluate, kTrain };

// What a forward keeps for the backward that may follow it.
enum class Keep { kNothing, kForParameters, kForParametersAndImages };

// What dropout draws from: the same two numbers give the same masks, in any engine and for any number of threads.
struct Randomness {
  std::uint64_t seed = 0, step = 0;
};

// Where the images of a batch come from when they are not the stored ones: made when they are needed, by the threads
// that need them. The same index gives the same bytes, in any thread and any batch.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // Working memory that `read` needs; every thread brings its own.
  virtual std::size_t scratch_bytes() const = 0;

  // Writes image `index` of the set, u8 [C, H, W].
  virtual void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept = 0;
};

// Images picked from a resident data set; each channel enters the network as pixel * scale + shift.
struct ImageBatch {
  const std::uint8_t* images;             // u8 [N, C, H, W]
  std::span<const std::int64_t> indices;  // which of the N, one per image of the batch
  std::span<const float> scale, shift;    // one per channel
  const ImageSource* source = nullptr;    // read instead of `images`, when given
};

struct StepResult {
  double loss_sum = 0;  // over the images of the batch, without any mean
  std::int64_t correct = 0;
};

}  // namespace mnistcnn::engine
