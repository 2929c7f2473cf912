// The kernels of one instruction set. CMake compiles this file once per set, with the compiler flags of the set and the
// name of the exported function in MNISTCNN_LANES_TABLE. Everything else has internal linkage, so that the linker
// cannot use code with AVX-512 elsewhere.
#include "mnistcnn/engine/lanes/kernels/activation.h"
#include "mnistcnn/engine/lanes/kernels/convolution.h"
#include "mnistcnn/engine/lanes/kernels/gemm.h"
#include "mnistcnn/engine/lanes/kernels/images.h"
#include "mnistcnn/engine/lanes/kernels/norm.h"
#include "mnistcnn/engine/lanes/kernels/peak.h"
#include "mnistcnn/engine/lanes/kernels/pointwise.h"
#include "mnistcnn/engine/lanes/kernels/pooled_convolution.h"
#include "mnistcnn/engine/lanes/kernels/pooling.h"
#include "mnistcnn/engine/lanes/kernels/softmax.h"
#include "mnistcnn/engine/lanes/kernels/statistics.h"
#include "mnistcnn/engine/lanes/kernels/weight_gradient.h"
#include "mnistcnn/engine/lanes/kernels/winograd_1d.h"
#include "mnistcnn/engine/lanes/kernels/winograd_2d.h"

namespace mnistcnn::engine::lanes {
namespace {

KernelTable make_kernel_table() {
  KernelTable table{};
  table.vector_lanes = kWidth;
  fill_convolutions<1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16>(table);
  fill_pooled_convolutions<1, 2, 3, 4, 5, 6>(table);
  fill_gemm<1, 2, 3, 4, 6, 8>(table);
  fill_weight_gradients<1, 2, 3, 4, 5, 6, 7, 8>(table);
  fill_winograd_2d(table);
  fill_winograd_1d(table);
  fill_pointwise(table);
  fill_statistics(table);
  fill_activations<kTanh, kSigmoid, kElu, kRelu6, kHardswish, kGelu, kGeluTanh, kPrelu, kMish, kSoftplus, kReciprocal>(
      table);
  fill_softmax(table);
  fill_pooling(table);
  fill_norms(table);
  fill_images(table);
  fill_peak(table);
  return table;
}

}  // namespace

// A function instead of a constant: code that builds the table uses the instruction set, so the CPU is checked first.
void MNISTCNN_LANES_TABLE(KernelTable& table) { table = make_kernel_table(); }

}  // namespace mnistcnn::engine::lanes
