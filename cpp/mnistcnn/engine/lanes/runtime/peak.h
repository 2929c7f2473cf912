#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Measures the peak of the machine, the reference for "% of peak". Each result is the best of as many short runs as fit
// into `seconds`.
namespace mnistcnn::engine::lanes {

// Floating point operations per second of all threads together; a multiply-add counts twice.
double peak_flops(const KernelTable& kernels, int threads, double seconds);

// Run multiply-adds for about 0.1 ms on every thread, `runs` times, and return the number of floating point operations.
// The caller measures the time, in turn with other work, because a shared machine's speed changes.
double run_multiply_adds(const KernelTable& kernels, int threads, int runs);

// Bytes per second that all threads together read, each from its own array of `bytes`. A size beyond the caches
// measures the memory, a smaller one the cache that holds it.
double read_bandwidth(const KernelTable& kernels, int threads, std::int64_t bytes, double seconds);

}  // namespace mnistcnn::engine::lanes
