#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <stdexcept>

#include "mnistcnn/common/text.h"
#include "mnistcnn/network/layers.h"

// Checks of the tensors that hold images and labels, before the core reads their memory.
namespace mnistcnn::bindings {

template <class Element>
std::span<const Element> elements(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<Element>(), static_cast<std::size_t>(tensor.numel())};
}

// Check images of any size, as required for augmentation.
inline void check_images(const at::Tensor& images) {
  if (images.scalar_type() != at::kByte || !images.is_cpu() || !images.is_contiguous() || images.dim() != 4)
    throw std::invalid_argument("images must be contiguous uint8 [N, C, H, W] on the CPU");
}

inline void check_images(const at::Tensor& images, const network::Shape& shape) {
  const at::IntArrayRef expected(shape);
  if (images.scalar_type() != at::kByte || !images.is_cpu() || !images.is_contiguous() || images.dim() != 4 ||
      images.sizes().slice(1) != expected)
    throw std::invalid_argument(common::text("images must be contiguous uint8 [N, ", expected[0], ", ", expected[1],
                                             ", ", expected[2], "] on the CPU, got ", images.toString(), " ",
                                             common::bracketed(images.sizes())));
}

inline void check_labels(const at::Tensor& labels, std::int64_t count) {
  if (labels.scalar_type() != at::kLong || !labels.is_cpu() || !labels.is_contiguous() || labels.dim() != 1 ||
      labels.numel() != count)
    throw std::invalid_argument(common::text("labels must be contiguous int64 [", count, "] on the CPU, got ",
                                             labels.toString(), " ", common::bracketed(labels.sizes())));
}

}  // namespace mnistcnn::bindings
