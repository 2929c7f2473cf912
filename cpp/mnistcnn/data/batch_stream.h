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
  bool drop_last = false;           // skip the last batch if it is smaller
  bool raw = false;                 // return u8 pixels instead of f32 pixel * scale + shift
  std::vector<float> scale, shift;  // one per channel
  int prefetch = 2;                 // maximum number of batches prepared by a background thread; 0: no thread
};

struct Batch {
  std::int64_t count = 0;
  std::unique_ptr<std::byte[]> images;     // f32 or u8 [count, C, H, W]
  std::unique_ptr<std::int64_t[]> labels;  // [count]
};

// Iterator over the batches of one epoch, which a background thread prepares. Supports a single consumer. The
// destructor stops the thread. After fork() the child prepares its batches synchronously.
class BatchStream {
 public:
  // The images must have the size plan.input(). The data set must outlive this object.
  BatchStream(const ImageSet& set, augmentation::AugmentationPlan plan, StreamOptions options);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  std::int64_t batches() const;
  augmentation::Size image_size() const { return plan_.output(); }

  // Wait until `next` would not block, at most for `timeout`. Return whether it would not block.
  bool ready(std::chrono::milliseconds timeout);

  // Return the next batch, or nullopt at the end. Rethrow an exception of the background thread.
  std::optional<Batch> next();

 private:
  class Prefetcher;

  Batch make_batch(std::int64_t number, std::byte* scratch) const;
  void worker_loop(Prefetcher& prefetcher) const;
  bool is_synchronous() const;

  ImageSet set_;
  augmentation::AugmentationPlan plan_;
  StreamOptions options_;
  std::vector<std::int64_t> order_;
  std::int64_t next_ = 0;  // index of the next batch to return
  long process_;
  std::unique_ptr<Prefetcher> prefetcher_;  // thread and queue; null without prefetching
};

}  // namespace mnistcnn::data
