#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// Selection of the instruction set at run time. Called by LanesEngine and the benchmarks.
namespace mnistcnn::engine::lanes {

// Return the kernels of the instruction set in the environment variable MNISTCNN_ISA, or of the best one that this CPU
// supports. Throw std::invalid_argument if the CPU does not support it.
const KernelTable& kernels();
// Return the kernels of the instruction set `name`: "baseline", "avx2" or "avx512". Throw as above.
const KernelTable& kernels(std::string_view name);

// Return the instruction sets that this CPU supports, the best first.
std::vector<std::string> instruction_set_names();

}  // namespace mnistcnn::engine::lanes
