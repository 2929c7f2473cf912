#pragma once
#include <vector>

#include "mnistcnn/engine/lanes/op.h"
#include "mnistcnn/network/layers.h"

namespace mnistcnn::engine::lanes {

// Windows along one axis, clipped to the map. `covered` also counts what of the border an average divides by.
struct PoolWindows {
  std::vector<std::int32_t> start, count;
  std::vector<std::int64_t> covered;
  int step = 1;
};

PoolWindows pool_windows(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding, std::int64_t dilation, bool count_border);
// Windows that divide the inputs among a number of outputs.
PoolWindows adaptive_windows(std::int64_t inputs, std::int64_t outputs);

// Whether a chain can take the pool.
bool is_two_by_two(const network::MaxPool2d& pool, const Extent& in);

enum class Pooling {
  kMaximum,
  kAverage,
  kAmax,  // a maximum whose gradient is shared by equal maxima
};

// Pooling with any windows; an average divides by the product of `covered`.
class PoolOp final : public Op {
 public:
  PoolOp(Input input, Value* output, Pooling pooling, PoolWindows rows, PoolWindows columns);

  Needs needs() const override;
  void add_forward(Program& program, bool training) override;
  void add_backward(Program& program) override;

 private:
  PoolTile tile(const BlockRun& at) const;
  PoolKernel backward_kernel(const KernelTable& kernels) const;

  Value* output_;
  Pooling pooling_;
  PoolWindows rows_, columns_;
  std::vector<float> divisors_;
};

}  // namespace mnistcnn::engine::lanes
