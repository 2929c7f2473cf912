#pragma once
#include <cstdint>

// Counter-based random numbers. Each number is a pure function of (seed, purpose, two counters, index). It does not
// depend on hidden state, on the order of calls, or on the number of threads.
namespace mnistcnn::common {

// What a number is used for. Different purposes use different streams. Append only: changing a value changes the
// results of every seed.
enum class Purpose : std::uint64_t { kInitialise = 1, kShuffle, kDropout, kAugment, kDigits, kSplit, kMix };

inline constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// Finaliser of SplitMix64: a bijection on 64 bits with full avalanche.
constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// Hash function "lowbias32": a bijection on 32 bits. Sixteen of them fit into a 512-bit SIMD register.
constexpr std::uint32_t mix32(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

// Random numbers of one key, accessed by index.
class Stream {
 public:
  constexpr Stream(std::uint64_t seed, Purpose purpose, std::uint64_t first = 0, std::uint64_t second = 0)
      : key_(combine(combine(combine(mix64(seed + kGolden), static_cast<std::uint64_t>(purpose)), first), second)) {}

  constexpr std::uint64_t key() const { return key_; }

  constexpr std::uint64_t bits(std::uint64_t index) const { return mix64(key_ + (index + 1) * kGolden); }

  // Return a uniform number in [0, 1) with 53 random bits.
  constexpr double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1.0p-53; }

  constexpr double uniform(std::uint64_t index, double low, double high) const {
    return low + (high - low) * uniform(index);
  }

  // Return a uniform integer in {0, ..., count - 1}.
  constexpr std::uint64_t below(std::uint64_t index, std::uint64_t count) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(bits(index)) * count) >> 64);
  }

 private:
  static constexpr std::uint64_t combine(std::uint64_t key, std::uint64_t word) {
    return mix64(key ^ mix64(word + kGolden));
  }

  std::uint64_t key_;
};

// Dropout masks. Two neighbouring elements use the two halves of one 32-bit hash. The hash depends on the key of the
// layer, the index of the pair, and the index of the image in the batch. All engines use this definition, so they draw
// the same masks.
struct DropoutKey {
  std::uint32_t low, high;

  explicit constexpr DropoutKey(const Stream& stream)
      : low(static_cast<std::uint32_t>(stream.key())), high(static_cast<std::uint32_t>(stream.key() >> 32)) {}

  // Part of the hash that does not depend on the image.
  constexpr std::uint32_t pair_key(std::uint32_t pair) const { return mix32(pair + high) + low; }

  static constexpr std::uint32_t word(std::uint32_t pair_key, std::uint32_t image) { return mix32(pair_key + image); }

  // An element is kept if its 16-bit half is at least this value.
  static constexpr std::uint32_t threshold(double probability) {
    return static_cast<std::uint32_t>(probability * 65536.0 + 0.5);
  }

  constexpr bool keeps(std::uint32_t image, std::uint32_t element, double probability) const {
    const std::uint32_t both = word(pair_key(element / 2), image);
    return (element % 2 == 0 ? both & 0xffffU : both >> 16) >= threshold(probability);
  }
};

}  // namespace mnistcnn::common
