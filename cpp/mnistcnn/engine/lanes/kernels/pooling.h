#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Pools with any window. The common 2x2 maximum is part of a chain instead.
namespace mnistcnn::engine::lanes {
namespace {

// Calls visit(input offset, output offset, output index, row, column) for the windows of all outputs.
template <class Visit>
LANES_INLINE void for_each_output(const PoolTile& t, Visit visit) {
  const std::int64_t in_plane = std::int64_t{t.rows.inputs} * t.columns.inputs * kLanes;
  const int out_plane = t.rows.outputs * t.columns.outputs;
  for (int c = 0; c < t.channels; ++c)
    for (int h = 0; h < t.rows.outputs; ++h)
      for (int w = 0; w < t.columns.outputs; ++w) {
        const int index = h * t.columns.outputs + w;
        for (int part = 0; part < kParts; ++part)
          visit(c * in_plane + part * kWidth, (c * std::int64_t{out_plane} + index) * kLanes + part * kWidth, index, h,
                w);
      }
}

template <class Visit>
LANES_INLINE void for_each_input(const PoolTile& t, int h, int w, Visit visit) {
  for (int i = 0; i < t.rows.count[h]; ++i)
    for (int j = 0; j < t.columns.count[w]; ++j) {
      const std::int64_t row = t.rows.start[h] + i * t.rows.step, column = t.columns.start[w] + j * t.columns.step;
      visit((row * t.columns.inputs + column) * kLanes);
    }
}

inline void max_pool_forward(const PoolTile& t) {
  for_each_output(t, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf most = splat(-__builtin_inff());
    for_each_input(t, h, w, [&](std::int64_t at) {
      const vf v = load(t.x + in + at);
      most = select((v > most) | (v != v), v, most);
    });
    store(t.out + out, most);
  });
}

inline void max_pool_backward(const PoolTile& t) {
  for_each_output(t, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf most = splat(-__builtin_inff());
    vi winner = splat(std::int32_t{-1});
    std::int32_t index = 0;
    for_each_input(t, h, w, [&](std::int64_t at) {
      const vf v = load(t.x + in + at);
      const vi better = (v > most) | (v != v) | (winner < 0);
      most = select(better, v, most);
      winner = better ? splat(index) : winner;
      ++index;
    });
    const vf gradient = load(t.gradient + out);
    index = 0;
    for_each_input(t, h, w, [&](std::int64_t at) {
      float* to = t.out + in + at;
      store(to, load(to) + select(winner == index, gradient, vf{}));
      ++index;
    });
  });
}

inline void amax_backward(const PoolTile& t) {
  for_each_output(t, [&](std::int64_t in, std::int64_t out, int, int h, int w) {
    vf most = splat(-__builtin_inff()), count{};
    for_each_input(t, h, w, [&](std::int64_t at) {
      const vf v = load(t.x + in + at);
      most = select((v > most) | (v != v), v, most);
    });
    for_each_input(t, h, w, [&](std::int64_t at) { count += select(load(t.x + in + at) == most, splat(1.0f), vf{}); });
    const vf gradient = load(t.gradient + out) / count;
    for_each_input(t, h, w, [&](std::int64_t at) {
      float* to = t.out + in + at;
      store(to, load(to) + select(load(t.x + in + at) == most, gradient, vf{}));
    });
  });
}

inline void average_pool_forward(const PoolTile& t) {
  for_each_output(t, [&](std::int64_t in, std::int64_t out, int index, int h, int w) {
    vf sum{};
    for_each_input(t, h, w, [&](std::int64_t at) { sum += load(t.x + in + at); });
    store(t.out + out, sum / splat(t.divisor[index]));
  });
}

inline void average_pool_backward(const PoolTile& t) {
  for_each_output(t, [&](std::int64_t in, std::int64_t out, int index, int h, int w) {
    const vf gradient = load(t.gradient + out) / splat(t.divisor[index]);
    for_each_input(t, h, w, [&](std::int64_t at) {
      float* to = t.out + in + at;
      store(to, load(to) + gradient);
    });
  });
}

inline void list_pooling(KernelTable& table) {
  table.max_pool_forward = max_pool_forward;
  table.max_pool_backward = max_pool_backward;
  table.amax_backward = amax_backward;
  table.average_pool_forward = average_pool_forward;
  table.average_pool_backward = average_pool_backward;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
