#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

namespace mnistcnn::engine::lanes {

// The kernels of the best instruction set of this machine, or of the one that the environment variable MNISTCNN_ISA or
// `name` selects. Throws std::invalid_argument if the machine does not support it.
const KernelTable& kernels();
const KernelTable& kernels(std::string_view name);

// All that this machine supports, the best first.
std::vector<std::string> instruction_set_names();

}  // namespace mnistcnn::engine::lanes
