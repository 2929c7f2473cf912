#include "mnistcnn/data/batch_stream.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include "mnistcnn/data/normalization.h"
#include "mnistcnn/data/order.h"

namespace mnistcnn::data {
namespace {

void normalize(std::span<const std::uint8_t> image, const StreamOptions& options, float* out) {
  const std::size_t channels = options.scale.size(), plane = image.size() / channels;
  for (std::size_t c = 0; c < channels; ++c)
    scale_pixels(image.subspan(c * plane, plane), options.scale[c], options.shift[c], {out + c * plane, plane});
}

}  // namespace

class BatchStream::Prefetcher {
 public:
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> queue;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;
};

BatchStream::BatchStream(const ImageSet& set, augmentation::AugmentationPlan plan, StreamOptions options)
    : set_(set),
      plan_(std::move(plan)),
      options_(std::move(options)),
      order_(options_.shuffle ? shuffled_order(set.size(), options_.seed, options_.epoch) : plain_order(set.size())),
      process_(getpid()) {
  if (options_.prefetch == 0) return;
  prefetcher_ = std::make_unique<Prefetcher>();
  prefetcher_->thread = std::thread([this] { worker_loop(*prefetcher_); });
}

BatchStream::~BatchStream() {
  if (prefetcher_ == nullptr) return;
  if (is_synchronous()) {  // after a fork the thread exists only in the parent
    static_cast<void>(prefetcher_.release());
    return;
  }
  {
    const std::lock_guard lock(prefetcher_->mutex);
    prefetcher_->stop = true;
  }
  prefetcher_->changed.notify_all();
  prefetcher_->thread.join();
}

bool BatchStream::is_synchronous() const { return prefetcher_ == nullptr || process_ != getpid(); }

std::int64_t BatchStream::batches() const {
  const auto images = static_cast<std::int64_t>(order_.size());
  const bool has_partial = !options_.drop_last && images % options_.batch_size != 0;
  return images / options_.batch_size + (has_partial ? 1 : 0);
}

bool BatchStream::ready(std::chrono::milliseconds timeout) {
  if (is_synchronous() || next_ == batches()) return true;
  std::unique_lock lock(prefetcher_->mutex);
  return prefetcher_->changed.wait_for(lock, timeout,
                                       [&] { return !prefetcher_->queue.empty() || prefetcher_->error; });
}

std::optional<Batch> BatchStream::next() {
  if (next_ == batches()) return std::nullopt;
  if (is_synchronous()) {
    std::vector<std::byte> scratch(plan_.scratch_bytes());
    return make_batch(next_++, scratch.data());
  }
  std::unique_lock lock(prefetcher_->mutex);
  prefetcher_->changed.wait(lock, [&] { return !prefetcher_->queue.empty() || prefetcher_->error; });
  if (prefetcher_->queue.empty()) std::rethrow_exception(prefetcher_->error);
  Batch batch = std::move(prefetcher_->queue.front());
  prefetcher_->queue.pop_front();
  ++next_;
  lock.unlock();
  prefetcher_->changed.notify_all();
  return batch;
}

void BatchStream::worker_loop(Prefetcher& prefetcher) const {
  const auto has_space = [&] {
    return prefetcher.stop || prefetcher.queue.size() < static_cast<std::size_t>(options_.prefetch);
  };
  try {
    std::vector<std::byte> scratch(plan_.scratch_bytes());
    for (std::int64_t number = 0; number < batches(); ++number) {
      std::unique_lock lock(prefetcher.mutex);
      prefetcher.changed.wait(lock, has_space);
      if (prefetcher.stop) return;
      lock.unlock();
      Batch batch = make_batch(number, scratch.data());
      lock.lock();
      prefetcher.queue.push_back(std::move(batch));
      lock.unlock();
      prefetcher.changed.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(prefetcher.mutex);
    prefetcher.error = std::current_exception();
    prefetcher.changed.notify_all();
  }
}

Batch BatchStream::make_batch(std::int64_t number, std::byte* scratch) const {
  const std::int64_t first = number * options_.batch_size;
  const std::int64_t count = std::min(options_.batch_size, static_cast<std::int64_t>(order_.size()) - first);
  const augmentation::Size size = plan_.output();
  const std::int64_t in_bytes = plan_.input().bytes(), values = size.bytes();
  const auto bytes = static_cast<std::size_t>(count * values) * (options_.raw ? 1 : sizeof(float));
  Batch batch{count, std::make_unique_for_overwrite<std::byte[]>(bytes),
              std::make_unique_for_overwrite<std::int64_t[]>(static_cast<std::size_t>(count))};
  std::vector<std::uint8_t> image(static_cast<std::size_t>(values));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = order_[static_cast<std::size_t>(first + i)];
    batch.labels[static_cast<std::size_t>(i)] = set_.labels[static_cast<std::size_t>(index)];
    plan_.run({options_.seed, options_.epoch, index}, set_.images.data() + index * in_bytes, image.data(), scratch);
    if (options_.raw)
      std::memcpy(batch.images.get() + i * values, image.data(), image.size());
    else
      normalize(image, options_, reinterpret_cast<float*>(batch.images.get()) + i * values);
  }
  return batch;
}

}  // namespace mnistcnn::data
