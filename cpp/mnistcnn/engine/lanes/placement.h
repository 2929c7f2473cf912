#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "mnistcnn/engine/lanes/compiler.h"

// Where everything lies in memory. Batch norm makes a step pass over all blocks again and again, so what counts is that
// the blocks together stay small enough for the last cache.
namespace mnistcnn::engine::lanes {

// Values that show the memory of others in another shape: (view, what it shows).
struct Views : std::vector<std::pair<Value*, Value*>> {
  Value* root_of(Value* value) const;
};

// A piece of memory that is needed from one moment to another, both included.
struct Lifetime {
  int first = 0, last = 0;
  std::int64_t size = 0;
};

// Places for all of them, so that those that live at the same time don't overlap; total: what they take together.
struct SharedMemory {
  std::vector<std::int64_t> places;
  std::int64_t total = 0;
};
SharedMemory share_memory(const std::vector<Lifetime>& lifetimes);

// `lazy`: outputs of chains that are computed where they are wanted.
void place_memory(Plan& plan, const Views& views, const std::vector<Value*>& lazy);

}  // namespace mnistcnn::engine::lanes
