#pragma once
#include "mnistcnn/engine/lanes/conv/winograd_domain.h"

// Selection of the algorithm for each pass of a 3x3 convolution by a cost model. Called by ops/convolution_op. It
// depends on sizes only: algorithms round differently, so the selection must not depend on instruction set or threads.
namespace mnistcnn::engine::lanes {

// kWinograd1d: F(4, 3) along the columns. kWinograd2d: F(4x4, 3x3), with shorter tiles at the edge.
enum class Algorithm { kDirect, kWinograd1d, kWinograd2d };

// Return the algorithm of a pass: kWinograd2d for wide layers only, because of its rounding error (docs/lanes.md).
Algorithm select_forward_algorithm(const Convolution3x3& convolution);
Algorithm select_input_gradient_algorithm(const Convolution3x3& convolution);
Algorithm select_weight_gradient_algorithm(const Convolution3x3& convolution);

// Return whether all passes use BatchWinograd2d instead of the algorithms of a block.
bool uses_batch_algorithm(const Convolution3x3& convolution);

}  // namespace mnistcnn::engine::lanes
