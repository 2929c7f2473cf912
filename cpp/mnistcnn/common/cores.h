#pragma once

namespace mnistcnn::common {

// Return the number of processor cores that this process may use, at least 1: limited by its affinity mask and by the
// CPU quota of its control group.
int available_cores();

}  // namespace mnistcnn::common
