#pragma once

namespace mnistcnn::common {

// The processor cores this process may use: its affinity mask, and the quota of its control group where there is one.
// At least 1.
int available_cores();

}  // namespace mnistcnn::common
