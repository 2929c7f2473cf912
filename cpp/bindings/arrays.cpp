#include "arrays.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/network/tensors.h"

namespace mnistcnn::bindings {
namespace {

bool has_shape(const at::Tensor& tensor, at::IntArrayRef shape) {
  if (tensor.dim() != static_cast<std::int64_t>(shape.size())) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::int64_t size = tensor.sizes()[i];
    if (shape[i] == kAnySize ? size < 1 : size != shape[i]) return false;
  }
  return true;
}

const char* name_of(at::ScalarType type) {
  if (type == at::kByte) return "uint8";
  return type == at::kLong ? "int64" : "float32";
}

std::string expected_shape(at::IntArrayRef shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) sizes.push_back(size == kAnySize ? "any" : std::to_string(size));
  return common::bracketed(sizes);
}

}  // namespace

void check_array(const char* name, const at::Tensor& tensor, at::ScalarType type, at::IntArrayRef shape) {
  if (tensor.scalar_type() == type && tensor.is_cpu() && has_shape(tensor, shape) &&
      network::has_accessible_memory(tensor) && tensor.is_contiguous())
    return;
  throw std::invalid_argument(common::text(name, " must be a contiguous ", name_of(type), " tensor ",
                                           expected_shape(shape), " on the CPU without empty dimensions, got ",
                                           tensor.toString(), " ", common::bracketed(tensor.sizes())));
}

}  // namespace mnistcnn::bindings
