#include "mnistcnn/data/batch_stream.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "mnistcnn/data/order.h"

namespace mnistcnn::data {
namespace {

using augmentation::AugmentationPlan;
using augmentation::Size;

constexpr std::int64_t kCount = 23;
constexpr Size kSize{1, 2, 3};

struct OwnedSet {
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels;
  ImageSet view() const { return {images, labels}; }
};

OwnedSet make_set() {
  OwnedSet set;
  for (int i = 0; i < kCount * 6; ++i) set.images.push_back(static_cast<std::uint8_t>(i));
  for (std::int64_t i = 0; i < kCount; ++i) set.labels.push_back(i);
  return set;
}

AugmentationPlan random_rotation() {
  augmentation::Rotation step;
  step.degrees = {-180, 180};
  return AugmentationPlan({step}, kSize);
}

struct EpochBatches {
  std::vector<float> images;
  std::vector<std::int64_t> labels, counts;
  bool operator==(const EpochBatches&) const = default;
};

EpochBatches read(BatchStream& stream) {
  EpochBatches epoch;
  while (const auto batch = stream.next()) {
    const auto* values = reinterpret_cast<const float*>(batch->images.get());
    epoch.images.insert(epoch.images.end(), values, values + batch->count * kSize.bytes());
    epoch.labels.insert(epoch.labels.end(), batch->labels.get(), batch->labels.get() + batch->count);
    epoch.counts.push_back(batch->count);
  }
  return epoch;
}

StreamOptions options(int prefetch) {
  StreamOptions options{.batch_size = 5, .seed = 3, .epoch = 1, .scale = {0.5F}, .shift = {-1}};
  options.prefetch = prefetch;
  return options;
}

TEST(BatchStream, ReturnsTheBatchesOfTheEpochInOrder) {
  const OwnedSet set = make_set();
  const AugmentationPlan plan = random_rotation();
  EpochBatches expected;
  expected.labels = shuffled_order(kCount, 3, 1);
  expected.counts = {5, 5, 5, 5, 3};
  std::vector<std::uint8_t> image(6);
  std::vector<std::byte> scratch(plan.scratch_bytes());
  for (const std::int64_t index : expected.labels) {
    plan.run({3, 1, index}, &set.images[static_cast<std::size_t>(index * 6)], image.data(), scratch.data());
    for (const std::uint8_t each : image) expected.images.push_back(static_cast<float>(each) * 0.5F - 1);
  }
  for (const int prefetch : {0, 1, 2, 50}) {
    BatchStream stream(set.view(), random_rotation(), options(prefetch));
    EXPECT_EQ(stream.batches(), 5);
    EXPECT_EQ(read(stream), expected) << "prefetch " << prefetch;
    EXPECT_FALSE(stream.next()) << "next() after the end";
  }
}

TEST(BatchStream, SupportsRawUnshuffledAndDropLast) {
  const OwnedSet set = make_set();
  StreamOptions raw_options = options(2);
  raw_options.raw = raw_options.drop_last = true;
  raw_options.shuffle = false;
  BatchStream stream(set.view(), AugmentationPlan({}, kSize), raw_options);
  EXPECT_EQ(stream.batches(), 4);
  std::int64_t seen = 0;
  while (const auto batch = stream.next()) {
    EXPECT_EQ(batch->count, 5);
    EXPECT_EQ(std::memcmp(batch->images.get(), &set.images[static_cast<std::size_t>(seen * 6)], 30), 0);
    seen += batch->count;
  }
  EXPECT_EQ(seen, 20);
}

TEST(BatchStream, BatchSizeMayExceedTheNumberOfImages) {
  const OwnedSet set = make_set();
  StreamOptions one_batch = options(0);
  one_batch.batch_size = std::numeric_limits<std::int64_t>::max();
  BatchStream stream(set.view(), random_rotation(), one_batch);
  EXPECT_EQ(stream.batches(), 1);
  EXPECT_EQ(read(stream).counts, (std::vector<std::int64_t>{kCount}));
  one_batch.drop_last = true;
  EXPECT_EQ(BatchStream(set.view(), random_rotation(), one_batch).batches(), 0);
}

TEST(BatchStream, DestructorStopsTheThread) {
  const OwnedSet set = make_set();
  for (int count = 0; count < 4; ++count) {
    BatchStream stream(set.view(), random_rotation(), options(1));
    for (int i = 0; i < count; ++i) EXPECT_TRUE(stream.next());
  }
}

TEST(BatchStream, ReadyHasATimeout) {
  const OwnedSet set = make_set();
  BatchStream stream(set.view(), random_rotation(), options(1));
  while (!stream.ready(std::chrono::milliseconds(1))) continue;
  EXPECT_TRUE(stream.next());
}

TEST(BatchStream, RethrowsExceptionsOfTheThread) {
  const OwnedSet set = make_set();
  // The constructor accepts this plan; the error occurs when the thread computes the output size.
  BatchStream stream(set.view(), AugmentationPlan({augmentation::CenterCrop{{1, 1}, 0.5}}, kSize), options(2));
  EXPECT_THROW(stream.next(), std::invalid_argument);
}

TEST(BatchStream, WorksInAForkedChild) {
  const OwnedSet set = make_set();
  BatchStream synchronous(set.view(), random_rotation(), options(0));
  const EpochBatches expected = read(synchronous);
  BatchStream stream(set.view(), random_rotation(), options(2));
  const pid_t child = fork();
  if (child == 0) {
    const bool same = read(stream) == expected;
    _exit(same ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read(stream), expected);
}

}  // namespace
}  // namespace mnistcnn::data
