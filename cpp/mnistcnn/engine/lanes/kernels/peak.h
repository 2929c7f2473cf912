#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Loops that measure the machine's peak: independent multiply-adds, and loads without computation. Called by
// runtime/peak.
namespace mnistcnn::engine::lanes {
namespace {

// Number of independent sums: enough to hide the latency of a multiply-add, few enough for 16 registers.
constexpr int kPeakSums = 12;

std::int64_t multiply_adds(std::int64_t rounds) {
  vf sums[kPeakSums], factor = splat(0.5f), summand = splat(1.0f);
  for (int i = 0; i < kPeakSums; ++i) sums[i] = splat(static_cast<float>(i));
  keep(factor);
  keep(summand);
  for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kPeakSums; ++i) sums[i] = multiply_add(sums[i], factor, summand);
  for (int i = 0; i < kPeakSums; ++i) keep(sums[i]);
  return rounds * kPeakSums * kWidth;
}

constexpr int kReadSums = 8;

void read_floats(const float* memory, std::int64_t count) {
  vf sums[kReadSums] = {};
  for (std::int64_t at = 0; at + kReadSums * kWidth <= count; at += kReadSums * kWidth)
#pragma GCC unroll 8
    for (int i = 0; i < kReadSums; ++i) sums[i] += load(memory + at + i * kWidth);
  for (int i = 0; i < kReadSums; ++i) keep(sums[i]);
}

void fill_peak(KernelTable& table) {
  table.multiply_adds = multiply_adds;
  table.read_floats = read_floats;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
