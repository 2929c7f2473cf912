#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "mnistcnn/common/random.h"

namespace mnistcnn::engine::aten {

// f32 [batch, elements] on `device`: 0 for a dropped element, 1 / (1 - probability) for a kept one, as DropoutKey
// decides. The same bits on every device.
at::Tensor dropout_mask(const common::DropoutKey& key, std::int64_t batch, std::int64_t elements, double probability,
                        const at::Device& device);

// The same through tensor operations alone: what devices other than the CPU use.
at::Tensor dropout_mask_by_tensors(const common::DropoutKey& key, std::int64_t batch, std::int64_t elements,
                                   double probability, const at::Device& device);

}  // namespace mnistcnn::engine::aten
