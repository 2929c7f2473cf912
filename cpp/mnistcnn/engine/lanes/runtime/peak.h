#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Measurement of the machine's peak, the reference for "% of peak". Each function runs a short loop repeatedly for
// `seconds` and returns the best result (phase_seconds: the median). Called by `mnistcnn profile` and the benchmarks.
namespace mnistcnn::engine::lanes {

// Return floating point operations per second, summed over all threads. A multiply-add counts as two.
double peak_flops(const KernelTable& kernels, int threads, double seconds);

// Run multiply-adds for about 0.1 ms on every thread, `runs` times, and return the number of floating point operations.
// The caller measures the time, alternating with other work, because the speed of a shared machine changes.
double run_multiply_adds(const KernelTable& kernels, int threads, int runs);

// Return the seconds that a phase with one task per thread takes in addition to its tasks: claiming them, and the
// barrier.
double phase_seconds(const KernelTable& kernels, int threads, double seconds);

// Return bytes read per second, summed over all threads. Each thread reads its own array of `bytes`: larger than the
// caches to measure memory, smaller to measure the cache that holds it.
double read_bandwidth(const KernelTable& kernels, int threads, std::int64_t bytes, double seconds);

}  // namespace mnistcnn::engine::lanes
