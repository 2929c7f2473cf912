#pragma once
#include <cstdint>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// The limits of the machine, measured: the best of as many short runs as fit into `seconds`.
namespace mnistcnn::engine::lanes {

// Floating point operations per second of all threads: multiply-adds count twice.
double peak_flops(const KernelTable& kernels, int threads, double seconds);

// So many short runs of multiply-adds on every thread, 0.1 ms each, and the operations that they are: to be timed
// beside other work, on a machine whose speed changes.
double run_multiply_adds(const KernelTable& kernels, int threads, int runs);

// Bytes per second that all threads read together, each from `bytes` of its own: far more than the caches hold shows
// the memory's limit, less than one holds shows that cache's.
double read_bandwidth(const KernelTable& kernels, int threads, std::int64_t bytes, double seconds);

}  // namespace mnistcnn::engine::lanes
