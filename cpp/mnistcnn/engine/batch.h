#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

// The inputs of an engine and the result of a step.
namespace mnistcnn::engine {

enum class Mode { kEvaluate, kTrain };

// What a forward keeps for the backward that may follow it.
enum class Keep { kNothing, kForParameters, kForParametersAndImages };

// Determines the dropout masks: the same two numbers give the same masks, in any engine and for any number of threads.
struct Randomness {
  std::uint64_t seed = 0, step = 0;
};

// Makes the images of a batch on demand, in the threads that need them (augmentation). The same index gives the same
// bytes, in any thread and any batch.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // Scratch memory that `read` needs; every thread has its own.
  virtual std::size_t scratch_bytes() const = 0;

  // Write image `index` of the set, u8 [C, H, W].
  virtual void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept = 0;
};

// Images selected from a data set in memory; each channel enters the network as pixel * scale + shift.
struct ImageBatch {
  const std::uint8_t* images;             // u8 [N, C, H, W]
  std::span<const std::int64_t> indices;  // into the N images, one per image of the batch
  std::span<const float> scale, shift;    // one per channel
  const ImageSource* source = nullptr;    // read instead of `images`, when given
};

struct StepResult {
  double loss_sum = 0;  // sum over the images of the batch
  std::int64_t correct = 0;
};

}  // namespace mnistcnn::engine
