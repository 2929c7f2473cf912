#include "mnistcnn/engine/aten/dropout_mask.h"

#include <gtest/gtest.h>

namespace mnistcnn::engine::aten {
namespace {

const common::DropoutKey kKey(common::Stream(9, common::Purpose::kDropout, 4, 2));

TEST(DropoutMask, EqualsDropoutKey) {
  for (const std::int64_t elements : {1, 2, 7, 50}) {
    const at::Tensor mask = dropout_mask(kKey, 5, elements, 0.3, at::kCPU);
    const float* values = mask.const_data_ptr<float>();
    for (std::int64_t image = 0; image < 5; ++image)
      for (std::int64_t element = 0; element < elements; ++element) {
        const bool kept = kKey.keeps(static_cast<std::uint32_t>(image), static_cast<std::uint32_t>(element), 0.3);
        EXPECT_EQ(values[image * elements + element], kept ? static_cast<float>(1 / 0.7) : 0.0F);
      }
  }
}

TEST(DropoutMask, TensorImplementationIsIdentical) {
  for (const double probability : {0.0, 0.01, 0.5, 1.0})
    EXPECT_TRUE(dropout_mask(kKey, 6, 33, probability, at::kCPU)
                    .equal(dropout_mask_by_tensors(kKey, 6, 33, probability, at::kCPU)));
}

}  // namespace
}  // namespace mnistcnn::engine::aten
