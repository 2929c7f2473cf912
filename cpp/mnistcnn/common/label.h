#pragma once
#include <cstdint>
#include <stdexcept>

#include "mnistcnn/common/text.h"

namespace mnistcnn::common {

// Throw std::invalid_argument unless the label of an image is in [0, classes).
inline void check_label(std::int64_t label, std::int64_t image, std::int64_t classes) {
  if (label < 0 || label >= classes)
    throw std::invalid_argument(
        text("label ", label, " of image ", image, " is out of range for a network with ", classes, " outputs"));
}

}  // namespace mnistcnn::common
