#pragma once
#include "mnistcnn/engine/lanes/kernels/vector.h"

// Conversion between image order and lane order: u8 images are transposed and scaled in one pass, f32 matrices are
// transposed. Also the addition of arrays, and dropout masks.
namespace mnistcnn::engine::lanes {
namespace {

using bytes16 = std::uint8_t __attribute__((vector_size(16)));
using bytes16_unaligned __attribute__((aligned(1), may_alias)) = bytes16;
static_assert(alignof(bytes16_unaligned) == 1);

// Transpose [images][pixels] to [pixels][images], 16 x 16: four rounds that interleave row i with row i + 8.
LANES_INLINE void transpose_bytes(bytes16 (&m)[16]) {
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    bytes16 next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i] = shuffle<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(m[i], m[i + 8]);
      next[2 * i + 1] = shuffle<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(m[i], m[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) m[i] = next[i];
  }
}

inline void gather(const GatherArguments& args) {
  const int pixels = args.rows * args.columns;
  for (int c = 0; c < args.channels; ++c) {
    const vf scale = splat(args.scale[c]), shift = splat(args.shift[c]);
    int column = 0;
    float* out = args.out + c * args.out_plane;
    for (int p = 0; p < pixels; p += 16) {
      const int count = pixels - p < 16 ? pixels - p : 16;
      bytes16 m[16];
      for (int i = 0; i < kLanes; ++i) {
        const std::uint8_t* from = args.images[i] + c * pixels + p;
        m[i] = bytes16{};
        if (count == 16)
          m[i] = *reinterpret_cast<const bytes16_unaligned*>(from);
        else
          __builtin_memcpy(&m[i], from, static_cast<std::size_t>(count));
      }
      transpose_bytes(m);
      for (int i = 0; i < count; ++i) {
        const std::uint8_t* pixel = reinterpret_cast<const std::uint8_t*>(&m[i]);
        for (int part = 0; part < kParts; ++part) {
          const vf value = __builtin_convertvector(load_bytes(pixel + part * kWidth), vf);
          store(out + column * kLanes + part * kWidth, multiply_add(value, scale, shift));
        }
        if (++column == args.columns) column = 0, out += args.out_row;
      }
    }
  }
}

inline void transpose(const float* in, std::int64_t in_row, int rows, int columns, float* out, std::int64_t out_row) {
  for (int i = 0; i < rows; i += 4)
    for (int j = 0; j < columns; j += 4) {
      v4 r[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) r[k] = *reinterpret_cast<const v4_unaligned*>(in + (i + k) * in_row + j);
      const v4 a = shuffle<0, 4, 1, 5>(r[0], r[1]), b = shuffle<2, 6, 3, 7>(r[0], r[1]);
      const v4 c = shuffle<0, 4, 1, 5>(r[2], r[3]), d = shuffle<2, 6, 3, 7>(r[2], r[3]);
      float* to = out + j * out_row + i;
      *reinterpret_cast<v4_unaligned*>(to) = shuffle<0, 1, 4, 5>(a, c);
      *reinterpret_cast<v4_unaligned*>(to + out_row) = shuffle<2, 3, 6, 7>(a, c);
      *reinterpret_cast<v4_unaligned*>(to + 2 * out_row) = shuffle<0, 1, 4, 5>(b, d);
      *reinterpret_cast<v4_unaligned*>(to + 3 * out_row) = shuffle<2, 3, 6, 7>(b, d);
    }
}

inline void add(const float* in, float* out, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(out + i, load(out + i) + load(in + i));
  for (; i < count; ++i) out[i] += in[i];
}

// common::mix32.
LANES_INLINE vu mix(vu x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

// Dropout masks of common::DropoutKey: the halves of one 32-bit word per (pair of elements, image) decide two elements.
inline void dropout_mask(const DropoutMaskArguments& args) {
  const vi threshold = splat(static_cast<std::int32_t>(args.threshold));
  vu image;
  for (int i = 0; i < kWidth; ++i) image[i] = args.first_image + static_cast<std::uint32_t>(i);
  for (std::uint32_t element = 0; element < args.elements; element += 2) {
    std::uint32_t pair = element / 2 + args.key_high;
    pair = (pair ^ (pair >> 16)) * 0x7feb352dU;
    pair = (pair ^ (pair >> 15)) * 0x846ca68bU;
    const std::uint32_t key = (pair ^ (pair >> 16)) + args.key_low;
    std::uint32_t even = 0, odd = 0;
    for (int part = 0; part < kParts; ++part) {
      const vu word = mix(image + key + static_cast<std::uint32_t>(part * kWidth));
      even |= bits_of(reinterpret_cast<vi>(word & 0xffffU) >= threshold) << (part * kWidth);
      odd |= bits_of(reinterpret_cast<vi>(word >> 16) >= threshold) << (part * kWidth);
    }
    args.mask[element] = static_cast<std::uint16_t>(even);
    if (element + 1 < args.elements) args.mask[element + 1] = static_cast<std::uint16_t>(odd);
  }
}

inline void fill_images(KernelTable& table) {
  table.gather = gather;
  table.transpose = transpose;
  table.add = add;
  table.dropout_mask = dropout_mask;
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
