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

void normalise(std::span<const std::uint8_t> image, const StreamOptions& options, float* out) {
  const std::size_t channels = options.scale.size(), plane = image.size() / channels;
  for (std::size_t c = 0; c < channels; ++c)
    scale_pixels(image.subspan(c * plane, plane), options.scale[c], options.shift[c], {out + c * plane, plane});
}

}  // namespace

class BatchStream::Shared {
 public:
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> made;
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;
};

BatchStream::BatchStream(const ImageSet& set, augmentation::Plan plan, StreamOptions options)
    : set_(set),
      plan_(std::move(plan)),
      options_(std::move(options)),
      order_(options_.shuffle ? shuffled_order(set.size(), options_.seed, options_.epoch) : plain_order(set.size())),
      process_(getpid()) {
  if (options_.prefetch == 0) return;
  shared_ = std::make_unique<Shared>();
  shared_->thread = std::thread([this] { work(*shared_); });
}

BatchStream::~BatchStream() {
  if (shared_ == nullptr) return;
  if (alone()) {  // the thread is the parent's
    static_cast<void>(shared_.release());
    return;
  }
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->changed.notify_all();
  shared_->thread.join();
}

bool BatchStream::alone() const { return shared_ == nullptr || process_ != getpid(); }

std::int64_t BatchStream::batches() const {
  const auto images = static_cast<std::int64_t>(order_.size());
  return options_.drop_last ? images / options_.batch_size : (images + options_.batch_size - 1) / options_.batch_size;
}

bool BatchStream::ready(std::chrono::milliseconds patience) {
  if (alone() || next_ == batches()) return true;
  std::unique_lock lock(shared_->mutex);
  return shared_->changed.wait_for(lock, patience, [&] { return !shared_->made.empty() || shared_->error; });
}

std::optional<Batch> BatchStream::next() {
  if (next_ == batches()) return std::nullopt;
  if (alone()) {
    std::vector<std::byte> scratch(plan_.scratch_bytes());
    return make(next_++, scratch.data());
  }
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(lock, [&] { return !shared_->made.empty() || shared_->error; });
  if (shared_->made.empty()) std::rethrow_exception(shared_->error);
  Batch batch = std::move(shared_->made.front());
  shared_->made.pop_front();
  ++next_;
  lock.unlock();
  shared_->changed.notify_all();
  return batch;
}

void BatchStream::work(Shared& shared) const {
  const auto room = [&] { return shared.stop || shared.made.size() < static_cast<std::size_t>(options_.prefetch); };
  try {
    std::vector<std::byte> scratch(plan_.scratch_bytes());
    for (std::int64_t number = 0; number < batches(); ++number) {
      std::unique_lock lock(shared.mutex);
      shared.changed.wait(lock, room);
      if (shared.stop) return;
      lock.unlock();
      Batch batch = make(number, scratch.data());
      lock.lock();
      shared.made.push_back(std::move(batch));
      lock.unlock();
      shared.changed.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(shared.mutex);
    shared.error = std::current_exception();
    shared.changed.notify_all();
  }
}

Batch BatchStream::make(std::int64_t number, std::byte* scratch) const {
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
      normalise(image, options_, reinterpret_cast<float*>(batch.images.get()) + i * values);
  }
  return batch;
}

}  // namespace mnistcnn::data
