#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "mnistcnn/engine/lanes/kernels/kernel_table.h"

// SIMD registers of one instruction set, as compiler vector extensions. A vector of 16 images fills kParts registers;
// in the kernels `part` is the index of a register in its vector. Intrinsics are used only where the extensions have no
// equivalent (fused multiply-add, maximum, masks). Everything has internal linkage, see kernels.cpp.
namespace mnistcnn::engine::lanes {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kWidth = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kWidth = 4, kRegisters = 32;
#else
constexpr int kWidth = 4, kRegisters = 16;
#endif
constexpr int kParts = kLanes / kWidth;  // registers that hold one vector of 16 images

using vf = float __attribute__((vector_size(kWidth * 4)));
using vi = std::int32_t __attribute__((vector_size(kWidth * 4)));
using vu = std::uint32_t __attribute__((vector_size(kWidth * 4)));
using v4 = float __attribute__((vector_size(16)));
// The same types without alignment. The attributes must follow the new name: after the type, Clang ignores them.
using vf_unaligned __attribute__((aligned(4), may_alias)) = vf;
using vi_unaligned __attribute__((aligned(4), may_alias)) = vi;
using v4_unaligned __attribute__((aligned(4), may_alias)) = v4;
static_assert(alignof(vf_unaligned) == 4 && alignof(vi_unaligned) == 4 && alignof(v4_unaligned) == 4);

#define LANES_INLINE inline __attribute__((always_inline))

LANES_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_unaligned*>(p); }
LANES_INLINE void store(float* p, vf v) { *reinterpret_cast<vf_unaligned*>(p) = v; }
// Store past the caches, to an address that is a multiple of 64 bytes. Registers that are shorter than a cache line
// store normally, because a line must be written at once.
LANES_INLINE void stream(float* p, vf v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, reinterpret_cast<__m512>(v));
#else
  store(p, v);
#endif
}
LANES_INLINE vi load(const std::int32_t* p) { return *reinterpret_cast<const vi_unaligned*>(p); }
LANES_INLINE void store(std::int32_t* p, vi v) { *reinterpret_cast<vi_unaligned*>(p) = v; }
LANES_INLINE vf splat(float x) { return x - vf{}; }
LANES_INLINE vi splat(std::int32_t x) { return x - vi{}; }
LANES_INLINE vu splat(std::uint32_t x) { return x - vu{}; }
LANES_INLINE vf select(vi condition, vf yes, vf no) { return condition ? yes : no; }

using bytes_of_vector = std::uint8_t __attribute__((vector_size(kWidth)));
using bytes_of_vector_unaligned __attribute__((aligned(1), may_alias)) = bytes_of_vector;
static_assert(alignof(bytes_of_vector_unaligned) == 1);

// Convert kWidth bytes to integers. (GCC 12 would load them one by one, and warns inside the unmasked AVX-512
// intrinsic.)
LANES_INLINE vi load_bytes(const std::uint8_t* bytes) {
#if defined(__AVX512F__)
  return reinterpret_cast<vi>(
      _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
#elif defined(__AVX2__)
  return reinterpret_cast<vi>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
#else
  return __builtin_convertvector(*reinterpret_cast<const bytes_of_vector_unaligned*>(bytes), vi);
#endif
}
// Store kWidth integers from 0 to 127 as bytes.
LANES_INLINE void store_bytes(std::uint8_t* p, vi v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(v)));
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32(reinterpret_cast<__m256i>(v), reinterpret_cast<__m256i>(v));
  const __m256i bytes = _mm256_packs_epi16(words, words);
  const __m128i packed = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), packed);
#else
  *reinterpret_cast<bytes_of_vector_unaligned*>(p) = __builtin_convertvector(v, bytes_of_vector);
#endif
}

// Return a vector of the elements of a (indices 0 to n - 1) and b (n to 2n - 1) at the indices.
template <int... indices, class Vector>
LANES_INLINE auto shuffle(Vector a, Vector b) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(a, b, indices...);
#else  // GCC 11, whose __builtin_shuffle returns a vector of as many elements as a has
  constexpr int count = sizeof(Vector) / sizeof(a[0]);
  if constexpr (sizeof...(indices) == count)
    return __builtin_shuffle(a, b, decltype(a < b){indices...});
  else
    return v4{(indices < count ? a[indices] : b[indices - count])...};
#endif
}

// Keep a loaded value in its register. Otherwise GCC folds the load into each multiply-add that uses it, and the load
// ports limit the kernel: 80 instead of 110 GFLOP/s on Zen 4.
LANES_INLINE void keep(vf& v) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(v));
#elif defined(__x86_64__)
  asm volatile("" : "+x"(v));
#elif defined(__aarch64__)
  asm volatile("" : "+w"(v));
#else
  (void)v;
#endif
}

// a * b + c, rounded once if the instruction set has a fused multiply-add (the x86-64 baseline has none).
LANES_INLINE vf multiply_add(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX2__)
  return reinterpret_cast<vf>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#elif defined(__aarch64__)
  return reinterpret_cast<vf>(
      vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}

// The larger value; b if either is NaN, as in x86. (Masked, because GCC 12 warns inside the unmasked AVX-512
// intrinsic.)
LANES_INLINE vf larger(vf a, vf b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vf>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
#else
  return a > b ? a : b;
#endif
}

// Bit i: whether the condition is true in lane i.
LANES_INLINE std::uint32_t bits_of(vi condition) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(condition));
#elif defined(__AVX2__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(condition)));
#elif defined(__x86_64__)
  return static_cast<std::uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(condition)));
#else
  std::uint32_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<std::uint32_t>(condition[i] & 1) << i;
  return bits;
#endif
}

// v * scale if the bit of the image is set, else 0. `bits` has 16 bits, of which register `part` uses kWidth.
LANES_INLINE vf drop(vf v, std::uint16_t bits, int part, vf scale) {
#if defined(__AVX512F__)
  (void)part;
  return reinterpret_cast<vf>(_mm512_maskz_mul_ps(bits, reinterpret_cast<__m512>(v), reinterpret_cast<__m512>(scale)));
#else
  vi one;
  for (int i = 0; i < kWidth; ++i) one[i] = 1 << i;
  const vi kept = (splat(static_cast<std::int32_t>(bits >> (part * kWidth))) & one) == one;
  return reinterpret_cast<vf>(reinterpret_cast<vi>(v * scale) & kept);
#endif
}

}  // namespace
}  // namespace mnistcnn::engine::lanes
