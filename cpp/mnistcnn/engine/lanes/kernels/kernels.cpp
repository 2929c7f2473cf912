// The kernels of one instruction set. Compiled once for each, with that set's flags and with MNISTCNN_LANES_TABLE, the
// name of the one symbol it exports. Everything else in here has internal linkage: the linker must never pick code with
// AVX-512 in it for the rest of the program.
#include "mnistcnn/engine/lanes/kernels/activation.h"
#include "mnistcnn/engine/lanes/kernels/bands.h"
#include "mnistcnn/engine/lanes/kernels/chain.h"
#include "mnistcnn/engine/lanes/kernels/convolution.h"
#include "mnistcnn/engine/lanes/kernels/images.h"
#include "mnistcnn/engine/lanes/kernels/limits.h"
#include "mnistcnn/engine/lanes/kernels/norm.h"
#include "mnistcnn/engine/lanes/kernels/pooling.h"
#include "mnistcnn/engine/lanes/kernels/product.h"
#include "mnistcnn/engine/lanes/kernels/softmax.h"
#include "mnistcnn/engine/lanes/kernels/statistics.h"
#include "mnistcnn/engine/lanes/kernels/weight_gradient.h"
#include "mnistcnn/engine/lanes/kernels/winograd.h"

namespace mnistcnn::engine::lanes {
namespace {

KernelTable list_kernels() {
  KernelTable table{};
  table.vector_lanes = kWidth;
  list_convolutions<1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16>(table);
  list_products<1, 2, 3, 4, 6, 8>(table);
  list_weight_gradients<1, 2, 3, 4, 5, 6, 7, 8>(table);
  list_winograd(table);
  list_bands(table);
  list_chains(table);
  list_statistics(table);
  list_activations<kTanh, kSigmoid, kSilu, kElu, kRelu6, kHardswish, kGelu, kGeluTanh, kPrelu, kMish, kSoftplus,
                   kReciprocal>(table);
  list_softmax(table);
  list_pooling(table);
  list_norms(table);
  list_images(table);
  list_limits(table);
  return table;
}

}  // namespace

// A function rather than a constant: building the table uses this instruction set too, so it must not run before the
// machine was asked.
void MNISTCNN_LANES_TABLE(KernelTable& table) { table = list_kernels(); }

}  // namespace mnistcnn::engine::lanes
