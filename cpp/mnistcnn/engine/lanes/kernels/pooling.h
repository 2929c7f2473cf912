#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Max, average and amax pools with any window. kernels/pointwise.h has the 2x2 max pool. Called by ops/reduction_ops.
// As in PyTorch, NaN is larger than any number, and the first maximum of a window receives the gradient (amax: all,
// evenly; if the maximum is NaN, all gradients of the window are NaN).
namespace mnistcnn::engine::lanes {
namespace {

// Call visit(input offset of the channel, output offset, output index, row, column) for each output.
template <class Visit>
LANES_INLINE void for_each_output(const PoolArguments& args, Visit visit) {
  const std::int64_t in_plane = std::int64_t{args.rows.inputs} * args.columns.inputs * kLanes;
  const int out_plane = args.rows.outputs * args.columns.outputs;
  for (int c = 0; c < args.channels; ++c)
    for (int h = 0; h < args.rows.outputs; ++h)
      for (int w = 0; w < args.columns.outputs; ++w) {
        const int index = h * args.columns.outputs + w;
        for (int part = 0; part < kParts; ++part)
          visit(c * in_plane + part * kWidth, (c * std::int64_t{out_plane} + index) * kLanes + part * kWidth, index, h,
                w);
      }
}

// Call visit(input offset in the channel) for each input of the window of output (h, w).
template <class Visit>
LANES_INLINE void for_each_input(const PoolArguments& args, int h, int w, Visit visit) {
  for (int i = 0; i < args.rows.count[h]; ++i)
    for (int j = 0; j < args.columns.count[w]; ++j) {
      const std::int64_t row = args.rows.start[h] + i * args.rows.step,
                         column = args.columns.start[w] + j * args.columns.step;
      visit((row * args.columns.inputs + column) * kLanes);
    }
}

inline void max_pool_forward(const PoolArguments& args) {
  for_each_output(args, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf maximum = splat(-__builtin_inff());
    for_each_input(args, h, w, [&](std::int64_t at) {
      const vf v = load(args.x + in + at);
      maximum = select((v > maximum) | (v != v), v, maximum);
    });
    store(args.out + out, maximum);
  });
}

inline void max_pool_backward(const PoolArguments& args) {
  for_each_output(args, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf maximum = splat(-__builtin_inff());
    vi winner = splat(std::int32_t{-1});
    std::int32_t index = 0;
    for_each_input(args, h, w, [&](std::int64_t at) {
      const vf v = load(args.x + in + at);
      const vi better = (v > maximum) | (v != v) | (winner < 0);
      maximum = select(better, v, maximum);
      winner = better ? splat(index) : winner;
      ++index;
    });
    const vf gradient = load(args.gradient + out);
    index = 0;
    for_each_input(args, h, w, [&](std::int64_t at) {
      float* to = args.out + in + at;
      store(to, load(to) + select(winner == index, gradient, vf{}));
      ++index;
    });
  });
}

inline void amax_backward(const PoolArguments& args) {
  for_each_output(args, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf maximum = splat(-__builtin_inff()), count{};
    for_each_input(args, h, w, [&](std::int64_t at) {
      const vf v = load(args.x + in + at);
      maximum = select((v > maximum) | (v != v), v, maximum);
    });
    for_each_input(args, h, w,
                   [&](std::int64_t at) { count += select(load(args.x + in + at) == maximum, splat(1.0f), vf{}); });
    const vf gradient = load(args.gradient + out) / count;
    const vf others = gradient * 0.0f;  // NaN if the maximum is NaN, which equals no input: the count is 0
    for_each_input(args, h, w, [&](std::int64_t at) {
      float* to = args.out + in + at;
      store(to, load(to) + select(load(args.x + in + at) == maximum, gradient, others));
    });
  });
}

inline void average_pool_forward(const PoolArguments& args) {
  for_each_output(args, [&](std::int64_t in, std::int64_t out, int index, int h, int w) {
    vf sum{};
    for_each_input(args, h, w, [&](std::int64_t at) { sum += load(args.x + in + at); });
    store(args.out + out, sum / splat(args.divisor[index]));
  });
}

inline void average_pool_backward(const PoolArguments& args) {
  for_each_output(args, [&](std::int64_t in, std::int64_t out, int index, int h, int w) {
    const vf gradient = load(args.gradient + out) / splat(args.divisor[index]);
    for_each_input(args, h, w, [&](std::int64_t at) {
      float* to = args.out + in + at;
      store(to, load(to) + gradient);
    });
  });
}

inline void fill_pooling(KernelTable& table) {
  table.max_pool_forward = max_pool_forward;
  table.max_pool_backward = max_pool_backward;
  table.amax_backward = amax_backward;
  table.average_pool_forward = average_pool_forward;
  table.average_pool_backward = average_pool_backward;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
