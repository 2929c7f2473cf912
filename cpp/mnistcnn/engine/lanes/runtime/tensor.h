#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/layout/map.h"

// The tensors between operations and their places in memory. Memory is allocated when a batch begins, so a plan holds
// offsets in memory regions.
namespace mnistcnn::engine::lanes {

struct MemoryRef {
  enum class Region { kNone, kBlock, kThread } region = Region::kNone;
  std::int64_t offset = 0;          // floats from the region's begin
  std::int64_t plane = 0, row = 0;  // strides in floats
};

struct Tensor {
  Extent extent;
  MemoryRef activation, gradient;
  bool requires_grad = false;  // depends on parameters, so its gradient is always computed
  bool materialized = true;    // false: its only reader recomputes it, see PointwiseOp
  int uses = 0;                // operations that read it, the loss included
  int producer = -1;           // index of the operation that computes it, -1: the input images
};

}  // namespace mnistcnn::engine::lanes
