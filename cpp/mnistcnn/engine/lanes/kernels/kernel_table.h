#pragma once
#include <cstdint>

// Interface between the engine and its kernels: the table of function pointers and their arguments. Kernels are
// compiled once per instruction set. This header contains only data and constexpr functions of integers: other inline
// functions would be compiled for several instruction sets under one name, and the linker would keep any of them.
//
// Maps are f32 [channel][row][column][16 images]. A vector is the 16 images of one position. Columns are adjacent.
// Strides and offsets are in floats. Pointers need no alignment.
namespace mnistcnn::engine::lanes {

inline constexpr int kLanes = 16;  // images in a block, on every instruction set

// Register tile of a convolution: output channels x adjacent columns of one row of outputs.
struct ConvolutionArguments {
  const float* x;                      // input of the first column at kernel position (0, 0)
  std::int64_t x_plane;                // stride between channels
  std::int64_t x_row;                  // stride between kernel rows
  std::int64_t x_step;                 // stride between output columns
  const std::int32_t* column_offsets;  // of the kernel columns, in floats; read only by the kernels `convolve`
  const float* w;                      // f32 [channels][kernel rows][kernel columns][output channels of the tile]
  float* y;                            // first output channel, first column
  std::int64_t y_plane, y_step;        // strides between output channels, between columns
  const float* bias;                   // of the tile's output channels, or nullptr
  int channels;
  int kernel_rows, kernel_columns;
  int first_row, end_row;        // range of kernel rows with inputs inside the map
  int first_column, end_column;  // range of kernel columns with inputs inside the map
  bool accumulate;               // add to y instead of the bias
  bool prefetch_outputs;         // y is probably in no cache
};

// One row of windows of a 2x2 max pool, for some output channels of the convolution before it.
struct PooledConvolutionArguments {
  const float* x;                      // input of the first position of the first window at kernel position (0, 0)
  std::int64_t x_plane;                // stride between channels
  std::int64_t x_row;                  // stride between kernel rows
  const std::int32_t* column_offsets;  // of the kernel columns, in floats
  std::int64_t next_row, next_column;  // strides between adjacent rows and columns of the convolution's outputs
  const float* w;                      // f32 [channels][kernel rows][kernel columns][output channels]
  const float* bias;                   // of the output channels, or nullptr
  int channels, kernel_rows, kernel_columns;
  int windows;
  float* out;
  std::int64_t out_plane;     // stride between output channels
  const std::uint16_t* mask;  // of dropout after the pool, see PointwiseArguments; nullptr: no dropout
  std::int64_t mask_plane;
  float keep_scale;
  std::uint8_t* positions;       // see PointwiseArguments; [output channels][windows][16]
  std::int64_t positions_plane;  // stride between output channels
};

// Register tile of a GEMM: y[m][j] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + 16 * j ...], where j
// counts vectors of 16 columns.
struct GemmArguments {
  const float* a;
  std::int64_t a_row, a_step;
  const float* x;
  std::int64_t x_row;
  float* y;
  std::int64_t y_row;
  int depth;  // k < depth
  bool accumulate;
  bool stream;  // write y past the caches, if the instruction set writes whole lines; y: multiples of 64 bytes
};

// Register tile of a weight gradient: output channels x taps, summed over all positions and the 16 images.
struct WeightGradientArguments {
  const float* d;  // output gradients
  std::int64_t d_plane, d_row;
  const float* x;
  const std::int32_t* taps;    // offset of each tap in x
  std::int64_t x_row, x_step;  // strides between output rows, between output columns
  int rows, columns;           // of the outputs
  // A map can be summed in several calls, for rows in ascending order. Between them the sums are in `sums`,
  // f32 [output channels][taps][16]; a single call does not use it. Only the last call adds the images and writes
  // `out`.
  bool is_first, is_last;
  float* sums;
  float* out;  // f32 [output channels][taps], with row stride out_row
  std::int64_t out_row;
  bool accumulate;
};

// A map and its Winograd domain. Input and gradient transforms read the map and write the domain; output transforms
// read the domain and write the map.
struct WinogradArguments {
  float* map;  // f32 [channels][rows][columns][16]
  std::int64_t map_plane, map_row;
  int channels, rows, columns;
  float* domain;
};

inline constexpr int kMaxTileGroupColumns = 8;

// 2-D Winograd, see kernels/winograd_2d.h. A group has tiles of one size, 2 to 4 rows and columns of outputs. A tile
// has two points more along each axis. The domain is f32 [panels][channels][points][tiles of the panel][16], with one
// vector of padding after each channel. All panels have panel_tiles tiles; the last one of a domain may have fewer. The
// tiles of a group are adjacent in the domain, row by row.
struct Winograd2dArguments : WinogradArguments {
  int top, left;                           // zero padding of the inputs
  int first_row, first_column;             // first output of the group
  int tile_height, tile_width;             // outputs of a tile
  int tile_rows, tile_columns;             // tiles of the group
  std::int64_t panel_tiles, domain_tiles;  // in a panel, in all panels
  std::int64_t first_domain_tile;          // position of the group's first tile in the domain
  const float* bias;                       // of outputs, or nullptr
};

// Transform of 3x3 weights to the 2-D Winograd domain. Kernel i is at weights + i * kernel_stride; its value at point p
// is written to out[p * point_stride + i].
struct Winograd2dWeightArguments {
  const float* weights;
  std::int64_t kernel_stride;
  int count;
  int row_points, column_points;  // of the largest tile
  float* out;
  std::int64_t point_stride;
};

// Transform of sums, f32 [points][count] with a stride between points, to weight gradients, f32 [count][9].
struct Winograd2dSumArguments {
  const float* sums;
  std::int64_t point_stride;
  std::int64_t count;
  int row_points, column_points;  // of the largest tile
  float* out;
  bool accumulate;
};

struct Winograd2dKernels {
  void (*inputs)(const Winograd2dArguments&);
  void (*gradients)(const Winograd2dArguments&);
  void (*outputs)(const Winograd2dArguments&);
  void (*input_gradients)(const Winograd2dArguments&);
  void (*weights)(const Winograd2dWeightArguments&);
  void (*weight_gradients)(const Winograd2dSumArguments&);
};

// 1-D Winograd along the columns, see kernels/winograd_1d.h. F(4, 3): four rows of outputs, six points. F(2, 3): two
// rows, four points.
enum Winograd1dKind { kF23, kF43, kWinograd1dKinds };

// The domain is f32 [points][channels][columns with padding][16] of one row tile.
struct Winograd1dArguments : WinogradArguments {
  std::int64_t domain_stride, domain_channel_stride;  // strides between points, between channels of one point
  int first_row;                                      // of the row tile in the map; rows of inputs may be outside
  int before, after;                                  // zero columns on each side of the transformed inputs
  const float* bias;                                  // of outputs, or nullptr
};

// The products in the domain and the output transform in one kernel, with sums in registers.
struct Winograd1dFusedArguments {
  const float* x;  // the domain of the inputs
  std::int64_t domain_stride, domain_channel_stride;
  const float* w;  // f32 [pairs of outputs][channels][3][points][2]
  float* y;
  std::int64_t y_plane, y_row;
  int channels, outputs, columns;
  int rows;  // of the tile that are inside the map
  const float* bias;
};

struct Winograd1dKernels {
  void (*fused)(const Winograd1dFusedArguments&);  // nullptr if the instruction set has too few registers
  void (*inputs)(const Winograd1dArguments&);
  void (*gradients)(const Winograd1dArguments&);
  void (*outputs)(const Winograd1dArguments&);
  // Transform sums, f32 [points][count][3], to weight gradients, f32 [count][3][3]. count: pairs of channels.
  void (*weights)(const float* sums, std::int64_t count, float* out, bool accumulate);
};

// Fused pointwise layers from y to the output: per channel a * scale + shift, before or after an activation, then
// dropout and a 2x2 max pool. PointwiseKind, PointwisePool and PointwiseDropout select the kernel. See
// kernels/pointwise.h.
enum PointwiseKind { kAffine, kAffineRelu, kAffineLeaky, kAffineSilu, kReluAffine, kLeakyAffine, kPointwiseKinds };
enum PointwisePool { kNoPool, kMaxPool, kPointwisePools };
enum PointwiseDropout { kNoDropout, kDropoutBeforePool, kDropoutAfterPool, kPointwiseDropouts };

// Whether `pointwise_sums` replaces the output gradient by the gradient of z (after a max pool: at the position of the
// maximum), which includes dropout. The kernel kAffine without dropout then computes the gradient of y, so that
// exponentials are computed once in the backward pass.
constexpr bool sums_replace_gradient(int kind) { return kind == kAffineSilu; }

struct PointwiseArguments {
  const float* y;
  std::int64_t y_plane;         // rows of y are adjacent
  int channels, rows, columns;  // of y
  int out_rows, out_columns;
  const float *scale, *shift;  // per channel
  float slope;                 // of a leaky activation
  const std::uint16_t* mask;   // per position before or after the pool: bit i is set if image i keeps the element
  std::int64_t mask_plane;     // stride between channels
  float keep_scale;            // 1 / (1 - dropout probability)
  // Forward: the output. Backward: the output gradient, which is only read unless sums_replace_gradient.
  float* out;
  std::int64_t out_plane, out_row;
  // Backward: coefficients of batch norm's gradient, per channel.
  const float *gradient_mean, *projection;
  float* y_gradient;
  std::int64_t y_gradient_plane, y_gradient_row;
  const float* mean;  // of a, per channel
  // Sums for batch norm's backward, f32 [channels][16].
  float *sum, *sum_of_products;
  // Of a max pool, u8 [channels][out_rows][out_columns][16]: the position of the window, 0 to 3, that receives the
  // gradient of an image, or 4 if none does because the output of the ReLU is zero or the maximum was dropped. nullptr
  // in a forward without a backward.
  std::uint8_t* positions;
  std::int64_t positions_plane;  // stride between channels
};

// Batch norm statistics of one block, see kernels/statistics.h.
struct StatisticsArguments {
  const float* y;
  std::int64_t y_plane;
  int channels, positions;
  float slope;
  // Results, f32 [channels][16]: a value of a, the sum of (a - centre), the sum of (a - centre)^2.
  float *centre, *residual, *squares;
};

// Activation functions that are not fused. Forward: f(x). Backward: gradient * df/dx.
enum Activation {
  kTanh,
  kSigmoid,
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

// Constants of an activation. first: alpha of ELU, slope of PReLU, beta of softplus. second: threshold of softplus.
struct ActivationParameters {
  double first = 0, second = 0;
};

struct ActivationArguments {
  const float* x;
  const float* gradient;
  float* out;
  std::int64_t count;  // floats, a multiple of 16
  ActivationParameters parameters;
};

struct SoftmaxArguments {
  const float* x;         // forward: input; backward: the forward output
  const float* gradient;  // backward only
  float* out;
  int classes, positions;
  std::int64_t class_step;  // stride between classes
};

// Windows along one axis. Output i covers the count[i] inputs start[i], start[i] + step, ...
struct PoolAxis {
  const std::int32_t *start, *count;
  int outputs, inputs, step;
};

struct PoolArguments {
  const float* x;         // f32 [channels][inputs][16]
  const float* gradient;  // backward: f32 [channels][outputs][16]
  float* out;             // forward: f32 [channels][outputs][16]; backward: f32 [channels][inputs][16], added to
  int channels;
  PoolAxis rows, columns;
  const float* divisor;  // per output position, average only
};

// Group, layer and instance norm.
struct NormArguments {
  const float* x;
  const float* gradient;  // backward only
  float* out;
  int groups;
  std::int64_t length;                          // elements per group
  const float *weight, *bias;                   // or nullptr
  std::int64_t weight_divisor, weight_modulus;  // element e has weight[e / divisor % modulus]
  float eps;
  // Backward: f32 [weights][16], added to, or nullptr.
  float *weight_sum, *bias_sum;
};

struct LossArguments {
  const float* outputs;  // f32 [classes][16], with stride class_step
  std::int64_t class_step;
  int classes;
  const std::int32_t* labels;  // of the 16 images; -1 for a lane without an image
  float smoothing;             // label smoothing, 0 to 1
  float scale;                 // of the gradients: 1 / batch size
  float* gradient;             // f32 [classes][16], with stride gradient_step, or nullptr
  std::int64_t gradient_step;
  float loss[kLanes];            // result; 0 for lanes without an image
  std::int32_t correct[kLanes];  // result: 1 if the label has the largest output
};

// Dropout masks as defined by common::DropoutKey.
struct DropoutMaskArguments {
  std::uint32_t key_low, key_high;
  std::uint32_t first_image;
  std::uint32_t threshold;
  std::uint32_t elements;
  std::uint16_t* mask;  // u16 [elements]: bit i is set if image i keeps the element
};

// Conversion of 16 images to a map: pixel * scale + shift.
struct GatherArguments {
  const std::uint8_t* images[kLanes];  // each u8 [channels, rows, columns]
  int channels, rows, columns;
  const float *scale, *shift;  // per channel
  float* out;
  std::int64_t out_plane, out_row;
};

using ConvolutionKernel = void (*)(const ConvolutionArguments&);
using PooledConvolutionKernel = void (*)(const PooledConvolutionArguments&);
using GemmKernel = void (*)(const GemmArguments&);
using WeightGradientKernel = void (*)(const WeightGradientArguments&);
using PointwiseKernel = void (*)(const PointwiseArguments&);
using PoolKernel = void (*)(const PoolArguments&);

inline constexpr int kMaxTileChannels = 16, kMaxTileColumns = 8, kMaxTileTaps = 9, kMaxTileSums = 28;
inline constexpr int kMaxPooledChannels = 6;

// The kernels of one instruction set. Kernels of register tiles are indexed by the size of the tile; nullptr: the tile
// needs too many registers or is not compiled.
struct KernelTable {
  const char* name;
  int vector_lanes;  // floats per register: 4, 8 or 16
  ConvolutionKernel convolve[kMaxTileChannels + 1][kMaxTileColumns + 1];
  // Width 3. [left][right]: number of the tile's first and last input columns that are outside the map.
  ConvolutionKernel convolve3[kMaxTileChannels + 1][kMaxTileColumns + 1][3][3];
  ConvolutionKernel convolve1[kMaxTileChannels + 1][kMaxTileColumns + 1];
  // Convolution with ReLU and max pool. [output channels][has ReLU][width 3, without stride and dilation]
  PooledConvolutionKernel convolve_pool[kMaxPooledChannels + 1][2][2];
  GemmKernel gemm[kMaxTileChannels + 1][kMaxTileColumns + 1];
  WeightGradientKernel weight_gradient[kMaxTileChannels + 1][kMaxTileTaps + 1];
  Winograd2dKernels winograd_2d;
  Winograd1dKernels winograd_1d[kWinograd1dKinds];
  PointwiseKernel pointwise_forward[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  PointwiseKernel pointwise_sums[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  PointwiseKernel pointwise_backward[kPointwiseKinds][kPointwisePools][kPointwiseDropouts];
  PointwiseKernel gradient_at_positions;  // backward pass of an optional ReLU, a max pool and optional dropout after it
  void (*statistics[kPointwiseKinds])(const StatisticsArguments&);
  void (*activation_forward[kActivations])(const ActivationArguments&);
  void (*activation_backward[kActivations])(const ActivationArguments&);
  void (*softmax_forward)(const SoftmaxArguments&);
  void (*softmax_backward)(const SoftmaxArguments&);
  void (*log_softmax_forward)(const SoftmaxArguments&);
  void (*log_softmax_backward)(const SoftmaxArguments&);
  PoolKernel max_pool_forward;
  PoolKernel max_pool_backward;
  PoolKernel amax_backward;  // divides the gradient evenly among equal maxima
  PoolKernel average_pool_forward;
  PoolKernel average_pool_backward;
  void (*norm_forward)(const NormArguments&);
  void (*norm_backward)(const NormArguments&);
  void (*cross_entropy)(LossArguments&);
  void (*negative_log_likelihood)(LossArguments&);
  void (*dropout_mask)(const DropoutMaskArguments&);
  void (*gather)(const GatherArguments&);
  // Transpose f32 [rows][columns]; both must be multiples of 4.
  void (*transpose)(const float* in, std::int64_t in_row, int rows, int columns, float* out, std::int64_t out_row);
  void (*add)(const float* in, float* out, std::int64_t count);  // out += in
  // Add the values at all positions of each plane to `sums`, f32 [planes][16].
  void (*sum_over_positions)(const float* d, std::int64_t plane, std::int64_t row, int planes, int rows, int columns,
                             float* sums);
  // Sum over the images, f32 [count][16] to f32 [count].
  void (*sum_over_images)(const float* values, int count, bool accumulate, float* out);
  std::int64_t (*multiply_adds)(std::int64_t rounds);  // returns the number of multiply-adds
  void (*read_floats)(const float* memory, std::int64_t count);
};

}  // namespace mnistcnn::engine::lanes
