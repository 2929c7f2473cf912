// The kernels of one instruction set. Compiled once per set, with the set's compiler flags and with
// MNISTCNN_LANES_TABLE, the name of the only symbol that is exported. Everything else has internal linkage: the linker
// must never select code with AVX-512 for the rest of the program.
#include "mnistcnn/engine/lanes/kernels/activation.h"
#include "mnistcnn/engine/lanes/kernels/convolution.h"
#include "mnistcnn/engine/lanes/kernels/gemm.h"
#include "mnistcnn/engine/lanes/kernels/images.h"
#include "mnistcnn/engine/lanes/kernels/norm.h"
#include "mnistcnn/engine/lanes/kernels/peak.h"
#include "mnistcnn/engine/lanes/kernels/pointwise.h"
#include "mnistcnn/engine/lanes/kernels/pooling.h"
#include "mnistcnn/engine/lanes/kernels/softmax.h"
#include "mnistcnn/engine/lanes/kernels/statistics.h"
#include "mnistcnn/engine/lanes/kernels/weight_gradient.h"
#include "mnistcnn/engine/lanes/kernels/winograd_1d.h"
#include "mnistcnn/engine/lanes/kernels/winograd_2d.h"

namespace mnistcnn::engine::lanes {
namespace {

KernelTable list_kernels() {
  KernelTable table{};
  table.vector_lanes = kWidth;
  list_convolutions<1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16>(table);
  list_gemm<1, 2, 3, 4, 6, 8>(table);
  list_weight_gradients<1, 2, 3, 4, 5, 6, 7, 8>(table);
  list_winograd_2d(table);
  list_winograd_1d(table);
  list_pointwise(table);
  list_statistics(table);
  list_activations<kTanh, kSigmoid, kSilu, kElu, kRelu6, kHardswish, kGelu, kGeluTanh, kPrelu, kMish, kSoftplus,
                   kReciprocal>(table);
  list_softmax(table);
  list_pooling(table);
  list_norms(table);
  list_images(table);
  list_peak(table);
  return table;
}

}  // namespace

// A function, not a constant: building the table uses the instruction set too, so the CPU must be checked first.
void MNISTCNN_LANES_TABLE(KernelTable& table) { table = list_kernels(); }

}  // namespace mnistcnn::engine::lanes
