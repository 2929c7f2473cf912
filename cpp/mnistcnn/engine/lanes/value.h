#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

namespace mnistcnn::engine::lanes {

constexpr int integer(std::int64_t size) { return static_cast<int>(size); }  // of a map that was checked
constexpr std::int64_t whole_vectors(std::int64_t floats) { return (floats + kLanes - 1) / kLanes * kLanes; }

// A map [channels][rows][columns]; a flat value has one row and one column.
struct Extent {
  std::int64_t channels = 1, rows = 1, columns = 1;
  std::int64_t positions() const { return rows * columns; }
  std::int64_t elements() const { return channels * positions(); }
};

// A map in memory: vectors of 16 images, columns next to each other, rows and channels so many floats apart.
struct View {
  float* data = nullptr;
  std::int64_t plane = 0, row = 0;
};

// Where memory lies before it is known how much there will be of it.
struct Buffer {
  enum class Kind { kNone, kBlock, kBatch, kThread } kind = Kind::kNone;
  std::int64_t offset = 0;          // floats; in a batch buffer, per block of the batch
  std::int64_t plane = 0, row = 0;  // floats; in a batch buffer `plane` is counted in blocks' vectors
};

// What flows from one operation to the next.
struct Value {
  Extent extent;
  Buffer activation, gradient;
  bool trains = false;  // parameters lie in front of it, so its gradient is always needed
  int uses = 0;         // operations that read it, the loss included
  int producer = -1;    // the operation that computes it, -1: the image
};

}  // namespace mnistcnn::engine::lanes
