#pragma once
#include <cstdint>

// The table of kernels and their arguments: the interface between the engine and its kernels, which are compiled once
// per instruction set. Plain data only, because no function may be compiled for two instruction sets under one name.
//
// Activations are f32 [channel][row][column][16 images]. A vector is the 16 images of one position. All strides and
// offsets are in floats.
namespace mnistcnn::engine::lanes {

inline constexpr int kLanes = 16;  // images in a block, on every instruction set

// A register tile of a convolution: some output channels x some adjacent columns of one row.
struct ConvolutionArguments {
  const float* x;                      // input of the tile's first column at kernel position (0, 0)
  std::int64_t x_plane;                // between channels
  std::int64_t x_row;                  // between kernel rows
  std::int64_t x_step;                 // between output columns
  const std::int32_t* column_offsets;  // of the kernel columns; unused for widths 1 and 3
  const float* w;                      // f32 [channels][kernel rows][kernel columns][output channels of the tile]
  float* y;
  std::int64_t y_plane, y_step;
  const float* bias;  // of the tile's output channels, or nullptr
  int channels;
  int kernel_rows, kernel_columns;
  int first_row, end_row;        // kernel rows with inputs inside the map
  int first_column, end_column;  // kernel columns with inputs inside the map
  bool accumulate;               // add to y instead of the bias
};

// y[m][j] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + 16 j ..], for the vectors j of a tile.
struct GemmArguments {
  const float* a;
  std::int64_t a_row, a_step;
  const float* x;
  std::int64_t x_row;
  float* y;
  std::int64_t y_row;
  int depth;  // number of k
  bool accumulate;
};

// Weight gradients of some output channels and some taps over a whole map, summed over the images of a block.
struct WeightGradientArguments {
  const float* d;  // gradients of the outputs
  std::int64_t d_plane, d_row;
  const float* x;
  const std::int32_t* taps;    // offset of each tap in x
  std::int64_t x_row, x_step;  // between output rows, between output columns
  int rows, columns;
  float* out;  // f32 [output channels][taps], rows `out_row` apart
  std::int64_t out_row;
  bool accumulate;
};

// A map and its Winograd domain: the values of a transform at each interpolation point.
struct WinogradArguments {
  float* map;  // [channels][rows][columns]; written by the output transforms only
  std::int64_t map_plane, map_row;
  int channels, rows, columns;
  float* domain;                                      // f32 [points][channels][...][16]
  std::int64_t domain_stride, domain_channel_stride;  // between points, between channels of one point
};

inline constexpr int kMaxTileGroupColumns = 8;

// 2-D Winograd F(4x4, 3x3), see kernels/winograd_2d.h: 36 points, for each the tiles of a group of `tile_rows` x
// `tile_columns`. Tile (i, j) covers the 4 x 4 outputs from (4 i, 4 j) on.
struct Winograd2dArguments : WinogradArguments {
  int top, left;  // zero padding of the inputs
  int first_tile_row, tile_rows, first_tile_column, tile_columns;
};

// 1-D Winograd along the columns, see kernels/winograd_1d.h. F(4, 3): four rows of outputs from six points; F(2, 3):
// two from four.
enum Winograd1dKind { kF23, kF43, kWinograd1dKinds };

struct Winograd1dArguments : WinogradArguments {  // for each point the columns, padding included
  int first_row;                                  // of the row tile; rows of inputs may be outside the map
  int before, after;                              // columns of zero padding in the domain of inputs
  const float* bias;                              // of outputs, or nullptr
};

// The products in the domain and the output transform in one kernel.
struct Winograd1dFusedArguments {
  const float* x;  // the domain of the inputs
  std::int64_t domain_stride, domain_channel_stride;
  const float* w;  // f32 [pairs of outputs][channels][3][points][2]
  float* y;
  std::int64_t y_plane, y_row;
  int channels, outputs, columns;
  int rows;  // of outputs inside the map
  const float* bias;
};

struct Winograd1dKernels {
  void (*fused)(const Winograd1dFusedArguments&);  // nullptr if there are too few registers
  void (*inputs)(const Winograd1dArguments&);
  void (*gradients)(const Winograd1dArguments&);
  void (*outputs)(const Winograd1dArguments&);
  // f32 [points][count][3] -> (+)= f32 [count][3][3]
  void (*weights)(const float* sums, std::int64_t count, float* out, bool accumulate);
};

// Fused pointwise layers from y to the output: per channel a * scale + shift before or after an activation, then
// dropout and a 2x2 maximum. The kernel is selected by PointwiseKind, PointwisePool and PointwiseDropout.
enum PointwiseKind { kAffine, kAffineRelu, kAffineLeaky, kReluAffine, kLeakyAffine, kPointwiseKinds };
enum PointwisePool { kNoPool, kMaxPool, kPointwisePools };
enum PointwiseDropout { kNoDropout, kDropoutBeforePool, kDropoutAfterPool, kPointwiseDropouts };

struct PointwiseArguments {
  const float* y;
  std::int64_t y_plane;  // rows of y are adjacent
  int channels, rows, columns;
  int out_rows, out_columns;
  const float *scale, *shift;  // per channel
  float slope;                 // of a leaky activation
  const std::uint16_t* mask;   // a bit per image for each position before or after the pool
  float keep_scale;
  // Forward: the output, written. Backward: the gradient of the output, read.
  float* out;
  std::int64_t out_plane, out_row;
  // Backward: coefficients of batch norm's gradient, see kernels/pointwise.h
  const float *gradient_mean, *projection;
  float* y_gradient;
  std::int64_t y_gradient_plane, y_gradient_row;
  const float* mean;
  // Sums for batch norm's backward: per channel and image, f32 [channels][16]
  float *sum, *sum_of_products;
};

struct StatisticsArguments {
  const float* y;
  std::int64_t y_plane;
  int channels, positions;
  float slope;
  // Per channel and image, f32 [channels][16]: a value of a, sum of (a - centre), sum of (a - centre)^2
  float *centre, *residual, *squares;
};

// f(x) elementwise; in the backward pass gradient * df/dx.
enum Activation {
  kTanh,
  kSigmoid,
  kSilu,
  kElu,
  kRelu6,
  kHardswish,
  kGelu,
  kGeluTanh,
  kPrelu,
  kMish,
  kSoftplus,
  kReciprocal,
  kActivations
};

// Constants of an activation: alpha or a slope; beta and threshold of a softplus.
struct ActivationParameters {
  double first = 0, second = 0;
};

struct ActivationArguments {
  const float* x;
  const float* gradient;
  float* out;
  std::int64_t count;
  ActivationParameters parameters;
};

struct SoftmaxArguments {
  const float* x;         // forward: input; backward: the forward output
  const float* gradient;  // backward only
  float* out;
  int classes, positions;
  std::int64_t class_step;  // between classes
};

// Windows along one axis: output i covers count[i] inputs: start[i], start[i] + step, ...
struct PoolAxis {
  const std::int32_t *start, *count;
  int outputs, inputs, step;
};

struct PoolArguments {
  const float* x;         // [channels][inputs]
  const float* gradient;  // backward: [channels][outputs]
  float* out;             // forward: [channels][outputs]; backward: [channels][inputs], zeroed before
  int channels;
  PoolAxis rows, columns;
  const float* divisor;  // of each output position, average only
};

struct NormArguments {
  const float* x;
  const float* gradient;  // backward only
  float* out;
  int groups;
  std::int64_t length;                          // vectors per group
  const float *weight, *bias;                   // or nullptr
  std::int64_t weight_divisor, weight_modulus;  // of element e: weight[e / divisor % modulus]
  float eps;
  // Backward: per weight and image, f32 [weights][16], added to. Or nullptr.
  float *weight_sum, *bias_sum;
};

struct LossArguments {
  const float* outputs;  // [classes][16], `class_step` apart
  std::int64_t class_step;
  int classes;
  const std::int32_t* labels;  // of the 16 images; -1 for a lane without an image
  float smoothing;
  float scale;      // of the gradients: 1 / batch size
  float* gradient;  // or nullptr
  std::int64_t gradient_step;
  float loss[kLanes];            // out
  std::int32_t correct[kLanes];  // out: 1 when the label has the largest output
};

struct DropoutMaskArguments {
  std::uint32_t key_low, key_high;
  std::uint32_t first_image;
  std::uint32_t threshold;
  std::uint32_t elements;
  std::uint16_t* mask;  // [elements], bit i is set if image i keeps the element
};

struct GatherArguments {
  const std::uint8_t* images[kLanes];  // u8 [channels, rows, columns] each
  int channels, rows, columns;
  const float *scale, *shift;
  float* out;
  std::int64_t out_plane, out_row;
};

using ConvolutionKernel = void (*)(const ConvolutionArguments&);
using GemmKernel = void (*)(const GemmArguments&);
using WeightGradientKernel = void (*)(const WeightGradientArguments&);
using PointwiseKernel = void (*)(const PointwiseArguments&);
using PoolKernel = void (*)(const PoolArguments&);

inline constexpr int kMaxTileChannels = 16, kMaxTileColumns = 8, kMaxTileTaps = 9;

// The kernels of one instruction set. A tile that needs too many registers is nullptr.
struct KernelTable {
  const char* name;
  int vector_lanes;
  ConvolutionKernel convolve[kMaxTileChannels + 1][kMaxTileColumns + 1];
  // [left][right]: how many of the tile's first and last input columns are outside the map
  ConvolutionKernel convolve3[kMaxTileChannels + 1][kMaxTileColumns + 1][3][3];
  ConvolutionKernel convolve1[kMaxTileChannels + 1][kMaxTileColumns + 1];
  GemmKernel gemm[kMaxTileChannels + 1][kMaxTileColumns + 1];
  WeightGradientKernel weight_gradient[kMaxTileChannels + 1][kMaxTileTaps + 1];
  void (*winograd_2d_inputs)(const Winograd2dArguments&);
  void (*winograd_2d_gradients)(const Winograd2dArguments&);
  void (*winograd_2d_outputs)(const Winograd2dArguments&);
  // f32 [36][count] -> (+)= f32 [count][9]
  void (*winograd_2d_weights)(const float* sums, std::int64_t count, float* out, bool accumulate);
  Winograd1dKernels winograd_1d[kWinograd1dKinds];
  PointwiseKernel pointwise_forward[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  PointwiseKernel pointwise_sums[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  PointwiseKernel pointwise_backward[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  void (*statistics[kPointwiseKinds])(const StatisticsArguments&);
  void (*activation_forward[kActivations])(const ActivationArguments&);
  void (*activation_backward[kActivations])(const ActivationArguments&);
  void (*softmax_forward)(const SoftmaxArguments&);
  void (*softmax_backward)(const SoftmaxArguments&);
  void (*log_softmax_forward)(const SoftmaxArguments&);
  void (*log_softmax_backward)(const SoftmaxArguments&);
  PoolKernel max_pool_forward;
  PoolKernel max_pool_backward;
  PoolKernel amax_backward;  // equal maxima share the gradient
  PoolKernel average_pool_forward;
  PoolKernel average_pool_backward;
  void (*norm_forward)(const NormArguments&);
  void (*norm_backward)(const NormArguments&);
  void (*cross_entropy)(LossArguments&);
  void (*negative_log_likelihood)(LossArguments&);
  void (*dropout_mask)(const DropoutMaskArguments&);
  void (*gather)(const GatherArguments&);
  // [rows][columns] -> [columns][rows]; both multiples of 4
  void (*transpose)(const float* in, std::int64_t in_row, int rows, int columns, float* out, std::int64_t out_row);
  void (*add)(const float* in, float* out, std::int64_t count);  // out += in
  void (*sum_planes)(const float* d, std::int64_t plane, std::int64_t row, int planes, int rows, int columns,
                     float* sums);                     // per plane, over positions and images
  std::int64_t (*multiply_adds)(std::int64_t rounds);  // returns their number
  void (*read_floats)(const float* memory, std::int64_t count);
};

}  // namespace mnistcnn::engine::lanes
