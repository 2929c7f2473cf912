#pragma once

namespace mnistcnn::common {

// Return the number of CPU cores that this process may use, at least 1. The affinity mask and the CPU quota of the
// control group limit it.
int available_cores();

}  // namespace mnistcnn::common
