#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "mnistcnn/data/augmentation/plan.h"
#include "mnistcnn/data/image_set.h"

namespace mnistcnn::data {

struct StreamOptions {
  std::int64_t batch_size = 128;
  std::uint64_t seed = 0, epoch = 0;
  bool shuffle = true;
  bool drop_last = false;           // whether a smaller last batch is left out
  bool raw = false;                 // u8 as they are instead of f32, pixel * scale + shift
  std::vector<float> scale, shift;  // one per channel
  int prefetch = 2;                 // batches made in advance by a thread of its own; 0: none, and no thread
};

struct Batch {
  std::int64_t count = 0;
  std::unique_ptr<std::byte[]> images;     // f32 or u8 [count, C, H, W]
  std::unique_ptr<std::int64_t[]> labels;  // [count]
};

// The batches of one epoch, made in the background. One consumer. Ends its thread when it goes; after a fork the
// child makes its batches itself.
class BatchStream {
 public:
  // The set, whose images are the plan's input, must outlive this.
  BatchStream(const ImageSet& set, augmentation::Plan plan, StreamOptions options);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  std::int64_t batches() const;
  augmentation::Size image_size() const { return plan_.output(); }

  // Whether `next` would answer at once; waits for that at most so long.
  bool ready(std::chrono::milliseconds patience);

  // The next batch, or nothing at the end. What went wrong in the background is thrown here.
  std::optional<Batch> next();

 private:
  class Shared;

  Batch make(std::int64_t number, std::byte* scratch) const;
  void work(Shared& shared) const;
  bool alone() const;

  ImageSet set_;
  augmentation::Plan plan_;
  StreamOptions options_;
  std::vector<std::int64_t> order_;
  std::int64_t next_ = 0;  // the batch to hand out
  long process_;
  std::unique_ptr<Shared> shared_;  // with the thread; none without prefetching
};

}  // namespace mnistcnn::data
