#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "mnistcnn/common/random.h"

namespace mnistcnn::engine::aten {

// Return the dropout mask that DropoutKey defines: f32 [batch, elements] on `device`, 0 for a dropped element and
// 1 / (1 - probability) for a kept one. Bit-identical on every device.
at::Tensor dropout_mask(const common::DropoutKey& key, std::int64_t batch, std::int64_t elements, double probability,
                        const at::Device& device);

// Implementation with tensor operations, used on devices other than the CPU.
at::Tensor dropout_mask_by_tensors(const common::DropoutKey& key, std::int64_t batch, std::int64_t elements,
                                   double probability, const at::Device& device);

}  // namespace mnistcnn::engine::aten
