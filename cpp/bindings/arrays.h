#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "mnistcnn/network/tensors.h"

// Checks of the tensors that a binding receives, before the core reads their memory.
namespace mnistcnn::bindings {

using network::elements;

inline constexpr std::int64_t kAnySize = -1;

// Throw std::invalid_argument unless a tensor is a contiguous array on the CPU with elements of this type and shape.
// kAnySize accepts every size of at least 1.
void check_array(const char* name, const at::Tensor& tensor, at::ScalarType type, at::IntArrayRef shape);

// Check images of any size, as required for augmentation.
inline void check_images(const at::Tensor& images) {
  check_array("images", images, at::kByte, {kAnySize, kAnySize, kAnySize, kAnySize});
}

inline void check_images(const at::Tensor& images, const network::Shape& shape) {
  check_array("images", images, at::kByte, {kAnySize, shape[0], shape[1], shape[2]});
}

inline void check_labels(const at::Tensor& labels, std::int64_t count) {
  check_array("labels", labels, at::kLong, {count});
}

}  // namespace mnistcnn::bindings
