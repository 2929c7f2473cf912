#include "mnistcnn/engine/lanes/conv/pooled_convolution.h"

namespace mnistcnn::engine::lanes {

PooledConvolution::PooledConvolution(const KernelTable& kernels, const network::Conv2d& layer,
                                     const PaddedLayout& input, const Extent& pooled, bool relu)
    : kernels_(&kernels),
      layer_(layer),
      channels_(integer(input.extent.channels)),
      pooled_(pooled),
      relu_(relu),
      is_width_3_(layer.kernel.width == 3 && layer.stride.width == 1 && layer.dilation.width == 1),
      output_weights_(input.extent.channels * layer.kernel.height * layer.kernel.width) {
  int outputs = kMaxPooledChannels;
  while (kernels.convolve_pool[outputs][relu][is_width_3_] == nullptr) --outputs;
  tiles_ = split_evenly(integer(pooled.channels), outputs);
  for (std::int64_t column = 0; column < layer.kernel.width; ++column)
    column_offsets_.push_back(integer(column * layer.dilation.width * kLanes));
}

// Packed weights: [tile][channel][kernel row][kernel column][output channel of the tile].
void PooledConvolution::pack(int task, const float* weights, float* packed) const {
  const IndexRange& tile = tiles_[to_size(task)];
  const float* const from = weights + tile.first * output_weights_;
  float* to = packed + tile.first * output_weights_;
  for (std::int64_t i = 0; i < output_weights_; ++i)
    for (int o = 0; o < tile.count; ++o) *to++ = from[o * output_weights_ + i];
}

void PooledConvolution::run(View x, const float* packed, const float* bias, const PooledOutputs& out, Part part) const {
  const float* const first = x.data - layer_.padding.top * x.row - layer_.padding.left * kLanes;
  const std::int64_t window_row = pooled_.columns * kLanes, positions_plane = pooled_.positions() * kLanes;
  PooledConvolutionArguments args{};
  args.x_plane = x.plane;
  args.x_row = layer_.dilation.height * x.row;
  args.column_offsets = column_offsets_.data();
  args.next_row = layer_.stride.height * x.row;
  args.next_column = layer_.stride.width * kLanes;
  args.channels = channels_;
  args.kernel_rows = integer(layer_.kernel.height);
  args.kernel_columns = integer(layer_.kernel.width);
  args.windows = integer(pooled_.columns);
  args.out_plane = out.y.plane;
  args.positions_plane = positions_plane;
  args.mask_plane = pooled_.positions();
  args.keep_scale = out.keep_scale;
  const IndexRange rows = part.of(integer(pooled_.rows));
  for (int row = rows.first; row < rows.first + rows.count; ++row)
    for (const IndexRange& tile : tiles_) {
      args.x = first + 2 * row * args.next_row;
      args.w = packed + tile.first * output_weights_;
      args.bias = bias != nullptr ? bias + tile.first : nullptr;
      args.out = out.y.data + tile.first * out.y.plane + row * out.y.row;
      args.positions = out.positions + tile.first * positions_plane + row * window_row;
      args.mask = out.mask != nullptr ? out.mask + tile.first * args.mask_plane + row * pooled_.columns : nullptr;
      kernels_->convolve_pool[tile.count][relu_][is_width_3_](args);
    }
}

}  // namespace mnistcnn::engine::lanes
