#pragma once
#include "mnistcnn/engine/lanes/winograd.h"

namespace mnistcnn::engine::lanes {

// How a pass over a 3x3 convolution without stride is computed.
enum class Way { kDirect, kBands, kWinograd };

// The quickest, by estimates that know nothing but the sizes: the ways don't give the same bits, so every instruction
// set and any number of threads must choose the same.
Way way_of_outputs(const WinogradShape& shape);
Way way_of_input_gradient(const WinogradShape& shape);  // of the convolution's shape, as the others
Way way_of_weight_gradient(const WinogradShape& shape);

}  // namespace mnistcnn::engine::lanes
