#include "mnistcnn/engine/aten/dropout_mask.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <span>
#include <vector>

namespace mnistcnn::engine::aten {
namespace {

using common::DropoutKey;

float scale_of_kept(double probability) {
  return probability < 1 ? static_cast<float>(1.0 / (1.0 - probability)) : 0.0F;
}

void fill_row(float* row, std::span<const std::uint32_t> pair_keys, std::int64_t elements, std::uint32_t image,
              std::uint32_t threshold, float scale) {
  const std::size_t whole_pairs = static_cast<std::size_t>(elements / 2);
  for (std::size_t pair = 0; pair < whole_pairs; ++pair) {
    const std::uint32_t word = DropoutKey::word(pair_keys[pair], image);
    row[2 * pair] = (word & 0xffffU) >= threshold ? scale : 0.0F;
    row[2 * pair + 1] = (word >> 16) >= threshold ? scale : 0.0F;
  }
  if (elements % 2 != 0)
    row[elements - 1] = (DropoutKey::word(pair_keys[whole_pairs], image) & 0xffffU) >= threshold ? scale : 0.0F;
}

at::Tensor shift_right(const at::Tensor& x, int bits) { return at::bitwise_right_shift(x, bits); }

// common::mix32 for 32-bit numbers stored in i64.
at::Tensor mix32(at::Tensor x) {
  x = ((x ^ shift_right(x, 16)) * std::int64_t{0x7feb352d}) & std::int64_t{0xffffffff};
  x = ((x ^ shift_right(x, 15)) * std::int64_t{0x846ca68b}) & std::int64_t{0xffffffff};
  return x ^ shift_right(x, 16);
}

}  // namespace

at::Tensor dropout_mask(const DropoutKey& key, std::int64_t batch, std::int64_t elements, double probability,
                        const at::Device& device) {
  if (!device.is_cpu()) return dropout_mask_by_tensors(key, batch, elements, probability, device);
  std::vector<std::uint32_t> pair_keys(static_cast<std::size_t>((elements + 1) / 2));
  for (std::size_t pair = 0; pair < pair_keys.size(); ++pair)
    pair_keys[pair] = key.pair_key(static_cast<std::uint32_t>(pair));
  at::Tensor mask = at::empty({batch, elements}, at::kFloat);
  float* const data = mask.mutable_data_ptr<float>();
  const std::uint32_t threshold = DropoutKey::threshold(probability);
  const float scale = scale_of_kept(probability);
  at::parallel_for(0, batch, 1 + 32768 / elements, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image)
      fill_row(data + image * elements, pair_keys, elements, static_cast<std::uint32_t>(image), threshold, scale);
  });
  return mask;
}

at::Tensor dropout_mask_by_tensors(const DropoutKey& key, std::int64_t batch, std::int64_t elements, double probability,
                                   const at::Device& device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor pairs = at::arange((elements + 1) / 2, options);
  const at::Tensor pair_keys = mix32((pairs + static_cast<std::int64_t>(key.high)) & std::int64_t{0xffffffff}) +
                               static_cast<std::int64_t>(key.low);
  const at::Tensor words =
      mix32((pair_keys.unsqueeze(0) + at::arange(batch, options).unsqueeze(1)) & std::int64_t{0xffffffff});
  const at::Tensor halves =
      at::stack({words & std::int64_t{0xffff}, shift_right(words, 16)}, 2).view({batch, -1}).narrow(1, 0, elements);
  const auto threshold = static_cast<std::int64_t>(DropoutKey::threshold(probability));
  return halves.ge(threshold).to(at::kFloat).mul_(scale_of_kept(probability)).contiguous();
}

}  // namespace mnistcnn::engine::aten
