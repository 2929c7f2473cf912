#include "mnistcnn/train/normalize_batch.h"

#include <gtest/gtest.h>

#include <vector>

namespace mnistcnn::train {
namespace {

const network::Shape kShape{2, 1, 3};
const std::vector<float> kScale{0.5F, 2.0F}, kShift{1.0F, -1.0F};

// Pixel j of image i is i + j + 1. The 1 is written to the scratch memory first.
class CountingSource final : public engine::ImageSource {
 public:
  std::size_t scratch_bytes() const override { return 1; }
  void read(std::int64_t index, std::uint8_t* image, std::byte* scratch) const noexcept override {
    *scratch = std::byte{1};
    for (int i = 0; i < 6; ++i) image[i] = static_cast<std::uint8_t>(index + i + static_cast<int>(*scratch));
  }
};

TEST(NormalizeBatch, NormalizesEachChannel) {
  std::vector<std::uint8_t> images(18);
  for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i);
  const std::vector<std::int64_t> indices{2, 0};
  std::vector<float> floats(12);
  normalize_batch({images.data(), indices, kScale, kShift}, kShape, floats);
  EXPECT_EQ(floats, (std::vector<float>{7, 7.5, 8, 29, 31, 33, 1, 1.5, 2, 5, 7, 9}));
}

TEST(NormalizeBatch, ReadsFromAnImageSource) {
  const CountingSource source;
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < 200; ++i) indices.push_back(i);
  std::vector<float> floats(indices.size() * 6);
  normalize_batch({nullptr, indices, kScale, kShift, &source}, kShape, floats);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    EXPECT_EQ(floats[i * 6], static_cast<float>(i + 1) * 0.5F + 1);
    EXPECT_EQ(floats[i * 6 + 5], static_cast<float>(i + 6) * 2 - 1);
  }
}

}  // namespace
}  // namespace mnistcnn::train
