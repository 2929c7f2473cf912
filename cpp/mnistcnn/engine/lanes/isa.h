#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

namespace mnistcnn::engine::lanes {

// The kernels for the best instruction set of this machine, or for the one that MNISTCNN_ISA names. A name that is
// unknown, or that this machine can't run, throws std::invalid_argument.
const KernelTable& kernels();
const KernelTable& kernels(std::string_view name);

// Those that this machine can run, the best first.
std::vector<std::string> instruction_set_names();

}  // namespace mnistcnn::engine::lanes
