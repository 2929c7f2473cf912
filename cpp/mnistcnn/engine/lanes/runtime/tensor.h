#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/layout/map.h"

// The tensors between operations and their location in memory. Memory is allocated at the start of each call, so a plan
// stores offsets in memory regions, which BlockContext::view resolves to pointers.
namespace mnistcnn::engine::lanes {

// Location of a map of one block. kNone: not in memory. kScratch: see BlockContext::scratch_memory.
struct MemoryRef {
  enum class Region { kNone, kBlock, kScratch } region = Region::kNone;
  std::int64_t offset = 0;          // from the start of the region, in floats
  std::int64_t plane = 0, row = 0;  // strides in floats
};

// A tensor of one block: f32 [channels][rows][columns][16], and its gradient.
struct Tensor {
  Extent extent;
  MemoryRef activation, gradient;
  bool requires_grad = false;  // true if it depends on parameters; its gradient is then always computed
  // false: never written to memory. Its only reader computes it (PointwiseOp::fuse_into_reader), or its producer
  // computes the output of the reader (ConvolutionOp::fuse).
  bool materialized = true;
  int uses = 0;       // number of operations that read it, plus 1 if the loss does
  int producer = -1;  // index of the operation that computes it, -1: the input images
};

}  // namespace mnistcnn::engine::lanes
