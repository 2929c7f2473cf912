#pragma once
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"

// Selection of the convolution algorithm by a cost model. It depends on sizes only: algorithms round differently, so
// every instruction set and any number of threads must select the same one.
namespace mnistcnn::engine::lanes {

// kWinograd1d: F(4, 3) along the columns. kWinograd2d: F(4x4, 3x3).
enum class Algorithm { kDirect, kWinograd1d, kWinograd2d };

// Never kWinograd2d: its rounding error would change the sign of more ReLU inputs and the winner of more max pools.
Algorithm select_forward_algorithm(const Convolution3x3& convolution);
Algorithm select_input_gradient_algorithm(const Convolution3x3& convolution);
Algorithm select_weight_gradient_algorithm(const Convolution3x3& convolution);

}  // namespace mnistcnn::engine::lanes
