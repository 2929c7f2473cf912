#include "mnistcnn/engine/lanes/conv/winograd_1d.h"

#include <algorithm>
#include <span>

namespace mnistcnn::engine::lanes {
namespace {

constexpr int kMaxPoints = 6;
constexpr std::int64_t kDomainBudget1d = 256 << 10;  // bytes in the domain of a tile group

// Number of columns of zero padding after the map.
int padding_after(const Convolution3x3& c) {
  return integer(std::max<std::int64_t>(0, c.out.columns + 2 - c.left - c.in.columns));
}

Winograd1dArguments tile_arguments(View map, const Extent& extent, int first_row, float* domain,
                                   std::int64_t domain_stride, std::int64_t domain_channel_stride) {
  Winograd1dArguments args{};
  set_map(args, map, extent);
  args.first_row = first_row;
  args.domain = domain;
  args.domain_stride = domain_stride;
  args.domain_channel_stride = domain_channel_stride;
  return args;
}

// With many channels the domain of a few columns does not fit L1, and the kernel with sums in registers multiplies the
// padding. Both variants are bit-identical.
bool is_faster_in_registers(const Convolution3x3& c) {
  return c.in.channels <= 16 && 6 * (c.left + padding_after(c)) <= c.out.columns;
}

}  // namespace

std::vector<RowTile> row_tiles_of(std::int64_t rows) {
  std::vector<RowTile> tiles;
  for (int first = 0; first < rows;) {
    const Winograd1dKind kind = rows - first > 2 ? kF43 : kF23;
    tiles.push_back({first, kind});
    first += rows_per_tile(kind);
  }
  return tiles;
}

// ---- outputs and input gradient

Winograd1dConvolution::Winograd1dConvolution(const KernelTable& kernels, const Convolution3x3& convolution,
                                             Direction direction)
    : kernels_(&kernels),
      convolution_(convolution),
      direction_(direction),
      row_tiles_(row_tiles_of(convolution.out.rows)),
      domain_convolution_(kernels, {1, integer(convolution.in.channels), integer(convolution.out.channels)},
                          forward_axis(1, 1, 1, 1, 0, 1),
                          forward_axis(convolution.in.columns, convolution.out.columns, 3, 1, convolution.left, 1), {}),
      register_tiles_(domain_convolution_.register_tiles()),
      in_registers_(kernels.winograd_1d[kF43].fused != nullptr && is_faster_in_registers(convolution)) {
  for (const Winograd1dKind kind : {kF23, kF43})
    if (std::ranges::any_of(row_tiles_, [&](const RowTile& tile) { return tile.kind == kind; })) {
      kinds_.push_back(kind);
      points_ += domain_size(kind);
    }
  if (!in_registers_ && !domain_convolution_.needs_column_padding()) return;
  before_ = convolution.left;
  after_ = padding_after(convolution);
}

std::int64_t Winograd1dConvolution::input_domain_stride() const {
  return odd_cache_lines(convolution_.in.channels * width());
}
std::int64_t Winograd1dConvolution::output_domain_stride() const {
  return odd_cache_lines(convolution_.out.channels * convolution_.out.columns);
}
std::int64_t Winograd1dConvolution::workspace_size() const {
  return kMaxPoints * (input_domain_stride() + output_domain_stride());
}

// Layout for sums in registers: [pair of outputs][channel][kernel column][point][output of the pair].
Winograd1dConvolution::WeightLayout Winograd1dConvolution::weight_layout(Winograd1dKind kind, int output) const {
  if (!in_registers_) {
    const std::int64_t first = domain_convolution_.packed_offset(output, 0, 0);
    return {first, domain_convolution_.packed_size(), domain_convolution_.packed_offset(output, 0, 1) - first};
  }
  const std::int64_t points = domain_size(kind), pair = output / 2;
  const std::int64_t outputs_of_pair = std::min<std::int64_t>(2, convolution_.out.channels - 2 * pair);
  return {6 * points * convolution_.in.channels * pair + output % 2, outputs_of_pair, points * outputs_of_pair};
}

template <Winograd1dKind kKind>
void Winograd1dConvolution::pack_kind(int output, const float* weights, float* packed) const {
  const std::int64_t channels = convolution_.in.channels, outputs = convolution_.out.channels;
  const bool forward = direction_ == Direction::kForward;
  const int first = forward ? 0 : 8, step = forward ? 1 : -1;  // the input gradient uses the flipped kernel
  const WeightLayout layout = weight_layout(kKind, output);
  float* to = packed + layout.first;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* const kernel = weights + (forward ? output * channels + c : c * outputs + output) * 9 + first;
    for (int column = 0; column < 3; ++column, to += layout.position) {
      const auto w = [&](int row) { return double{kernel[step * (3 * row + column)]}; };
      const auto store = [&](const auto& transformed) {
        float* point = to;
        for (const double each : transformed) {
          *point = static_cast<float>(each);
          point += layout.point;
        }
      };
      if constexpr (kKind == kF43)
        store(transform_f43(w(0), w(1), w(2)));
      else
        store(transform_f23(w(0), w(1), w(2)));
    }
  }
}

void Winograd1dConvolution::pack(int task, const float* weights, float* packed) const {
  for (const Winograd1dKind kind : kinds_) {
    kind == kF43 ? pack_kind<kF43>(task, weights, packed) : pack_kind<kF23>(task, weights, packed);
    packed += domain_size(kind) * domain_convolution_.packed_size();
  }
}

void Winograd1dConvolution::multiply_in_domain(Winograd1dKind kind, const float* inputs, const float* packed,
                                               float* outputs) const {
  ConvolutionArguments args{};
  args.x_plane = width() * kLanes;
  args.y_plane = convolution_.out.columns * kLanes;
  args.x_step = args.y_step = kLanes;
  args.channels = integer(convolution_.in.channels);
  args.kernel_rows = args.end_row = 1;
  args.kernel_columns = args.end_column = 3;
  inputs += (before_ - convolution_.left) * kLanes;
  for (int point = 0; point < domain_size(kind); ++point) {
    for (const DirectConvolution::RegisterTile& tile : register_tiles_) {
      args.x = inputs + tile.column * kLanes;
      args.w = packed + tile.output * convolution_.in.channels * 3;
      args.y = outputs + tile.output * args.y_plane + tile.column * kLanes;
      tile.kernel(args);
    }
    inputs += input_domain_stride();
    packed += domain_convolution_.packed_size();
    outputs += output_domain_stride();
  }
}

void Winograd1dConvolution::multiply_in_registers(const RowTile& tile, const float* inputs, const float* packed,
                                                  const float* bias, View y) const {
  Winograd1dFusedArguments args{};
  args.x = inputs;
  args.domain_stride = input_domain_stride();
  args.domain_channel_stride = width() * kLanes;
  args.w = packed;
  args.y = y.data + tile.first * y.row;
  args.y_plane = y.plane;
  args.y_row = y.row;
  args.channels = integer(convolution_.in.channels);
  args.outputs = integer(convolution_.out.channels);
  args.columns = integer(convolution_.out.columns);
  args.rows = std::min(integer(convolution_.out.rows) - tile.first, rows_per_tile(tile.kind));
  args.bias = bias;
  kernels_->winograd_1d[tile.kind].fused(args);
}

void Winograd1dConvolution::run(View x, const float* packed, const float* bias, View y, float* workspace,
                                Part part) const {
  float* const outputs = workspace + kMaxPoints * input_domain_stride();
  const std::int64_t f23_weights = kinds_.front() == kF23 ? domain_size(kF23) * domain_convolution_.packed_size() : 0;
  const IndexRange own = part.of(static_cast<int>(row_tiles_.size()));
  for (const RowTile& tile : std::span(row_tiles_).subspan(to_size(own.first), to_size(own.count))) {
    const Winograd1dKernels& kernels = kernels_->winograd_1d[tile.kind];
    const float* const weights = packed + (tile.kind == kF43 ? f23_weights : 0);
    Winograd1dArguments in = tile_arguments(x, convolution_.in, tile.first - convolution_.top, workspace,
                                            input_domain_stride(), width() * kLanes);
    in.before = before_;
    in.after = after_;
    kernels.inputs(in);
    if (in_registers_) {
      multiply_in_registers(tile, workspace, weights, bias, y);
      continue;
    }
    multiply_in_domain(tile.kind, workspace, weights, outputs);
    Winograd1dArguments out = tile_arguments(y, convolution_.out, tile.first, outputs, output_domain_stride(),
                                             convolution_.out.columns * std::int64_t{kLanes});
    out.bias = bias;
    kernels.outputs(out);
  }
}

// ---- weight gradient

Winograd1dWeightGradient::Winograd1dWeightGradient(const KernelTable& kernels, const Convolution3x3& convolution)
    : kernels_(&kernels),
      convolution_(convolution),
      after_(padding_after(convolution)),
      groups_(groups_of(convolution)) {
  for (const TileGroup& group : groups_) max_tiles_ = std::max(max_tiles_, group.tiles);
  for (std::int64_t c = 0; c < convolution.in.channels; ++c)
    for (int column = 0; column < 3; ++column) taps_.push_back(integer((c * max_tiles_ * width() + column) * kLanes));
  register_tiles_ = weight_gradient_tiles(kernels, integer(convolution.out.channels),
                                          integer(3 * convolution.in.channels), max_tiles_ * convolution.out.columns);
}

int Winograd1dWeightGradient::image_sums(const Convolution3x3& convolution) {
  int sums = 0;
  for (const TileGroup& group : groups_of(convolution)) sums += domain_size(group.kind);
  return sums;
}

std::vector<Winograd1dWeightGradient::TileGroup> Winograd1dWeightGradient::groups_of(const Convolution3x3& c) {
  const std::int64_t columns = c.left + c.in.columns + padding_after(c);
  const std::int64_t tile_bytes = kMaxPoints * (c.in.channels * columns + c.out.channels * c.out.columns) * kLanes * 4;
  const int max_tiles = integer(std::max<std::int64_t>(1, kDomainBudget1d / tile_bytes));
  const std::vector<RowTile> row_tiles = row_tiles_of(c.out.rows);
  std::vector<TileGroup> groups;
  for (const Winograd1dKind kind : {kF43, kF23}) {
    const auto is_kind = [&](const RowTile& tile) { return tile.kind == kind; };
    const int count = integer(std::ranges::count_if(row_tiles, is_kind));
    if (count == 0) continue;
    const int size = split_size(count, max_tiles);
    const int first_row = std::ranges::find_if(row_tiles, is_kind)->first;
    for (int tile = 0; tile < count; tile += size)
      groups.push_back(
          {kind, first_row + tile * rows_per_tile(kind), std::min(size, count - tile), tile > 0, tile + size >= count});
  }
  return groups;
}

std::int64_t Winograd1dWeightGradient::input_domain_stride() const {
  return odd_cache_lines(convolution_.in.channels * max_tiles_ * width());
}
std::int64_t Winograd1dWeightGradient::gradient_domain_stride() const {
  return odd_cache_lines(convolution_.out.channels * max_tiles_ * convolution_.out.columns);
}
std::int64_t Winograd1dWeightGradient::workspace_size() const {
  return kMaxPoints *
         (input_domain_stride() + gradient_domain_stride() + convolution_.in.channels * convolution_.out.channels * 3);
}

// d: of `outputs` channels.
void Winograd1dWeightGradient::transform(const TileGroup& group, View x, View d, int outputs, float* inputs,
                                         float* gradients) const {
  const Extent gradient{outputs, convolution_.out.rows, convolution_.out.columns};
  const Winograd1dKernels& kernels = kernels_->winograd_1d[group.kind];
  const std::int64_t input_columns = width() * kLanes, gradient_columns = convolution_.out.columns * kLanes;
  for (int tile = 0; tile < group.tiles; ++tile) {
    const int row = group.first_row + tile * rows_per_tile(group.kind);
    Winograd1dArguments in = tile_arguments(x, convolution_.in, row - convolution_.top, inputs + tile * input_columns,
                                            input_domain_stride(), max_tiles_ * input_columns);
    in.before = convolution_.left;
    in.after = after_;
    kernels.inputs(in);
    kernels.gradients(tile_arguments(d, gradient, row, gradients + tile * gradient_columns, gradient_domain_stride(),
                                     max_tiles_ * gradient_columns));
  }
}

void Winograd1dWeightGradient::sum_in_domain(const TileGroup& group, const PartOfOutputs& part, const float* inputs,
                                             const float* gradients, float* sums) const {
  const std::int64_t taps = 3 * convolution_.in.channels;
  WeightGradientArguments args{};
  args.d_row = convolution_.out.columns * kLanes;
  args.d_plane = max_tiles_ * args.d_row;
  args.x_row = width() * kLanes;
  args.x_step = kLanes;
  args.rows = group.tiles;
  args.is_first = args.is_last = true;
  args.columns = integer(convolution_.out.columns);
  args.out_row = taps;
  args.accumulate = group.accumulate;
  for (int point = 0; point < domain_size(group.kind); ++point) {
    args.x = inputs + point * input_domain_stride();
    for (const WeightGradientTile& tile : part.tiles) {
      const int output = tile.output - part.first;
      args.d = gradients + point * gradient_domain_stride() + output * args.d_plane;
      args.taps = taps_.data() + tile.tap;
      args.out = sums + (point * part.outputs + output) * taps + tile.tap;
      tile.kernel(args);
    }
  }
}

void Winograd1dWeightGradient::run(View x, View d, float* out, bool accumulate, float* workspace, Part part) const {
  const PartOfOutputs own = outputs_of_part(register_tiles_, integer(convolution_.out.channels), part);
  if (own.outputs == 0) return;
  d.data += own.first * d.plane;
  out += own.first * convolution_.in.channels * 9;
  float* const gradients = workspace + kMaxPoints * input_domain_stride();
  float* const sums = gradients + kMaxPoints * gradient_domain_stride();
  for (const TileGroup& group : groups_) {
    transform(group, x, d, own.outputs, workspace, gradients);
    sum_in_domain(group, own, workspace, gradients, sums);
    if (!group.last) continue;
    kernels_->winograd_1d[group.kind].weights(sums, convolution_.in.channels * own.outputs, out, accumulate);
    accumulate = true;
  }
}

}  // namespace mnistcnn::engine::lanes
