#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <stdexcept>
#include <string>

#include "mnistcnn/common/text.h"

namespace mnistcnn::train {

// The state of an optimizer, of averaged weights or of a run.
using NamedTensors = std::map<std::string, at::Tensor>;

// Return a tensor of a stored state. Throw std::invalid_argument unless it exists and is [count] with this type. owner:
// of the state, for the message.
inline const at::Tensor& stored_tensor(const char* owner, const NamedTensors& state, const std::string& name,
                                       std::int64_t count, at::ScalarType type) {
  const auto found = state.find(name);
  const bool exists = found != state.end();
  if (exists && found->second.dim() == 1 && found->second.numel() == count && found->second.scalar_type() == type)
    return found->second;
  const std::string actual =
      exists ? common::text("got ", found->second.toString(), " ", common::bracketed(found->second.sizes()))
             : "but is missing";
  throw std::invalid_argument(common::text("the stored state of the ", owner, " does not match this model: '", name,
                                           "' must be ", c10::toString(type), " [", count, "], ", actual));
}

}  // namespace mnistcnn::train
