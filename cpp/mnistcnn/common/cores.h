#pragma once
#include <span>
#include <string>

namespace mnistcnn::common {

// Return the number of logical CPUs that this process may use, at least 1. The affinity mask and the CPU quota of the
// control group limit it.
int available_cpus();

// Return the default number of threads, at least 1: the number of physical cores that this process may use, limited by
// the CPU quota. CPUs of one core (simultaneous multithreading) share its multipliers and caches, so a second thread on
// a core would gain little.
int available_cores();

// Return the number of physical cores of these logical CPUs. A CPU whose core is unknown counts as one core. `root`:
// the directory in which Linux describes the CPUs; a parameter for tests.
int physical_cores(std::span<const int> cpus, const std::string& root = "/sys/devices/system/cpu");

}  // namespace mnistcnn::common
