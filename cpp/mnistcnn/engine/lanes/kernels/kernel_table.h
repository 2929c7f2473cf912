#pragma once
#include <cstdint>

// What the kernels take and which kernels there are. The kernels are compiled once per instruction set; this header is
// all the rest of the engine knows of them. Plain data only: no function in here may be compiled twice.
//
// All activations lie as [channel][row][column][16 images]; one "vector" is the 16 images of one position.
namespace mnistcnn::engine::lanes {

inline constexpr int kLanes = 16;  // images in a block, on every instruction set

// One register tile of a convolution: some output channels of some neighbouring columns of one row.
struct ConvolutionTile {
  const float* x;                      // the position under the tile's first column and kernel position (0, 0)
  std::int64_t x_plane;                // floats from channel to channel
  std::int64_t x_row;                  // floats from kernel row to kernel row
  std::int64_t x_step;                 // floats from one output column to the next
  const std::int32_t* column_offsets;  // floats of each kernel column; the 3-wide kernels need none
  const float* w;                      // f32 [channels][kernel rows][kernel columns][output channels of the tile]
  float* y;
  std::int64_t y_plane, y_step;
  const float* bias;  // of the tile's output channels, or nullptr
  int channels;
  int kernel_rows, kernel_columns;
  int first_row, end_row;        // kernel rows that touch the map
  int first_column, end_column;  // kernel columns that touch the map
  bool accumulate;               // adds to y instead of starting from the bias
};

// y[m][j] (+)= sum over k of a[m * a_row + k * a_step] * x[k * x_row + 16 j ..], for the vectors j of a tile.
struct ProductTile {
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
struct WeightGradientTile {
  const float* d;  // gradients of the outputs
  std::int64_t d_plane, d_row;
  const float* x;
  const std::int32_t* taps;    // offset of each tap in x
  std::int64_t x_row, x_step;  // floats from output row to row, column to column
  int rows, columns;
  float* out;  // f32 [output channels][taps], rows `out_row` apart
  std::int64_t out_row;
  bool accumulate;
};

// Some tiles of a map and what becomes of them at Winograd's 36 points, see kernels/winograd.h. A strip of tiles is
// `tile_rows` x `tile_columns` of them; tile (i, j) covers the outputs from (4 i, 4 j) on.
inline constexpr int kMostTilesAbreast = 8;  // tile columns of a strip

struct PointsTile {
  float* map;  // [channels][rows][columns]; only written by those that make outputs
  std::int64_t map_plane, map_row;
  int channels, rows, columns;
  float* points;                      // f32 [points][channels][...][16]
  std::int64_t point, point_channel;  // floats from point to point, channel to channel
};

struct WinogradTile : PointsTile {  // 36 points, for each the tiles of the strip
  int top, left;                    // zeros around the inputs
  int first_tile_row, tile_rows, first_tile_column, tile_columns;
};

// A band of rows of a map and what becomes of it at Winograd's points, see kernels/bands.h. The outputs of a band are
// four rows, made of six points; or two rows, made of four.
enum BandRows { kTwoRows, kFourRows, kBandKinds };

struct BandTile : PointsTile {  // for each point the columns, those before and after included
  int first_row;                // of the band; inputs may lie outside the map
  int before, after;            // columns of zeros around the points of inputs
  const float* bias;            // of outputs, or nullptr
};

struct BandProduct {
  const float* x;  // the points of the inputs
  std::int64_t point, point_channel;
  const float* w;  // f32 [pairs of outputs][channels][3][points][2]
  float* y;
  std::int64_t y_plane, y_row;
  int channels, outputs, columns;
  int rows;  // of the map that are left
  const float* bias;
};

struct BandKernels {
  void (*product)(const BandProduct&);
  void (*inputs)(const BandTile&);
  void (*gradients)(const BandTile&);
  void (*outputs)(const BandTile&);
  // f32 [points][count][3] -> (+)= f32 [count][3][3]
  void (*weights)(const float* sums, std::int64_t count, float* out, bool accumulate);
};

// A chain of pointwise layers from y to its output. Per channel: a -> a * scale + shift around an activation, then
// dropout and a 2x2 maximum. What is there is said by the kernel chosen; see ChainKind, ChainPool, ChainDrop.
enum ChainKind { kAffine, kAffineRelu, kAffineLeaky, kReluAffine, kLeakyAffine, kChainKinds };
enum ChainPool { kNoPool, kMaxPool, kChainPools };
enum ChainDrop { kNoDrop, kDropBeforePool, kDropAfterPool, kChainDrops };

struct ChainTile {
  const float* y;
  std::int64_t y_plane;  // rows of y lie close together
  int channels, rows, columns;
  int out_rows, out_columns;
  const float *scale, *shift;  // per channel
  float slope;                 // of a leaky activation
  const std::uint16_t* mask;   // a bit per image, for each position in front of or behind the pool
  float keep_scale;
  // Forward: where the output goes. Backward: the gradient of the output, in the same form.
  float* out;
  std::int64_t out_plane, out_row;
  // Backward: what batch norm makes of a gradient, see kernels/chain.h
  const float *gradient_mean, *projection;
  float* y_gradient;
  std::int64_t y_gradient_plane, y_gradient_row;
  const float* mean;
  // Sums for batch norm's backward: per channel and image, f32 [channels][16]
  float *sum, *sum_of_products;
};

struct StatisticsTile {
  const float* y;
  std::int64_t y_plane;
  int channels, positions;
  float slope;
  // Per channel and image, f32 [channels][16]: some value of a, sum of (a - centre), sum of (a - centre)^2
  float *centre, *residual, *squares;
};

// f(x) for many numbers; in backward also df/dx times the gradient.
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

struct ActivationRow {
  const float* x;
  const float* gradient;
  float* out;
  std::int64_t count;
  ActivationParameters parameters;
};

struct SoftmaxTile {
  const float* x;         // forward: input; backward: the forward output
  const float* gradient;  // backward only
  float* out;
  int classes, positions;
  std::int64_t class_step;  // floats from class to class
};

// Windows along one axis: output i covers inputs start[i], start[i] + step, ... (count[i] of them).
struct PoolAxis {
  const std::int32_t *start, *count;
  int outputs, inputs, step;
};

struct PoolTile {
  const float* x;         // [channels][inputs]
  const float* gradient;  // backward: [channels][outputs]
  float* out;             // forward: [channels][outputs]; backward: [channels][inputs], zeroed before
  int channels;
  PoolAxis rows, columns;
  const float* divisor;  // of each output position, average only
};

struct NormTile {
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

struct LossTile {
  const float* outputs;  // [classes], `class_step` floats apart
  std::int64_t class_step;
  int classes;
  const std::int32_t* labels;  // of the 16 images; -1 for an image that is not there
  float smoothing;
  float scale;      // of the gradients: 1 / batch size
  float* gradient;  // or nullptr
  std::int64_t gradient_step;
  float loss[kLanes];            // out
  std::int32_t correct[kLanes];  // out: 1 when the label has the largest output
};

struct DropoutTile {
  std::uint32_t key_low, key_high;
  std::uint32_t first_image;
  std::uint32_t threshold;
  std::uint32_t elements;
  std::uint16_t* mask;  // [elements], bit i: image i keeps it
};

struct GatherTile {
  const std::uint8_t* images[kLanes];  // u8 [channels, rows, columns] each
  int channels, rows, columns;
  const float *scale, *shift;
  float* out;
  std::int64_t out_plane, out_row;
};

using ConvolutionKernel = void (*)(const ConvolutionTile&);
using ProductKernel = void (*)(const ProductTile&);
using WeightGradientKernel = void (*)(const WeightGradientTile&);
using ChainKernel = void (*)(const ChainTile&);
using PoolKernel = void (*)(const PoolTile&);

inline constexpr int kMostTileChannels = 16, kMostTileColumns = 8, kMostTileTaps = 9;

// The kernels of one instruction set. A tile that does not fit its registers is nullptr.
struct KernelTable {
  const char* name;
  int vector_lanes;
  ConvolutionKernel convolve[kMostTileChannels + 1][kMostTileColumns + 1];
  // [left][right]: how many of the tile's first and last input columns lie outside the map
  ConvolutionKernel convolve3[kMostTileChannels + 1][kMostTileColumns + 1][3][3];
  ConvolutionKernel convolve1[kMostTileChannels + 1][kMostTileColumns + 1];
  ProductKernel product[kMostTileChannels + 1][kMostTileColumns + 1];
  WeightGradientKernel weight_gradient[kMostTileChannels + 1][kMostTileTaps + 1];
  void (*winograd_inputs)(const WinogradTile&);
  void (*winograd_gradients)(const WinogradTile&);
  void (*winograd_outputs)(const WinogradTile&);
  // f32 [36][count] -> (+)= f32 [count][9]
  void (*winograd_weights)(const float* sums, std::int64_t count, float* out, bool accumulate);
  BandKernels bands[kBandKinds];
  ChainKernel chain_forward[kChainKinds][kChainPools][kChainDrops];
  ChainKernel chain_sums[kChainKinds][kChainPools][kChainDrops];
  ChainKernel chain_backward[kChainKinds][kChainPools][kChainDrops];
  void (*statistics[kChainKinds])(const StatisticsTile&);
  void (*activation_forward[kActivations])(const ActivationRow&);
  void (*activation_backward[kActivations])(const ActivationRow&);
  void (*softmax_forward)(const SoftmaxTile&);
  void (*softmax_backward)(const SoftmaxTile&);
  void (*log_softmax_forward)(const SoftmaxTile&);
  void (*log_softmax_backward)(const SoftmaxTile&);
  PoolKernel max_pool_forward;
  PoolKernel max_pool_backward;
  PoolKernel amax_backward;  // equal maxima share the gradient
  PoolKernel average_pool_forward;
  PoolKernel average_pool_backward;
  void (*norm_forward)(const NormTile&);
  void (*norm_backward)(const NormTile&);
  void (*cross_entropy)(LossTile&);
  void (*negative_log_likelihood)(LossTile&);
  void (*dropout_mask)(const DropoutTile&);
  void (*gather)(const GatherTile&);
  // [rows][columns] -> [columns][rows]; both multiples of 4, `row` floats from row to row
  void (*transpose)(const float* in, std::int64_t in_row, int rows, int columns, float* out, std::int64_t out_row);
  void (*add)(const float* in, float* out, std::int64_t count);  // out += in
  void (*sum_planes)(const float* d, std::int64_t plane, std::int64_t row, int planes, int rows, int columns,
                     float* sums);                     // per plane, over positions and images
  std::int64_t (*multiply_adds)(std::int64_t rounds);  // how many it did
  void (*read_floats)(const float* memory, std::int64_t count);
};

}  // namespace mnistcnn::engine::lanes
