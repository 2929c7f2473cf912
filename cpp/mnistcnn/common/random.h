#pragma once
#include <cstdint>

// Counter-based random numbers: every number is a pure function of (seed, purpose, two counters, index), so nothing
// depends on a hidden state, on the order of calls, or on the number of threads.
namespace mnistcnn::common {

// What a number is drawn for. Two purposes never share a stream. Append only: the values are part of "same seed,
// same bits".
enum class Purpose : std::uint64_t { kInitialise = 1, kShuffle, kDropout, kAugment, kDigits, kSplit, kMix };

inline constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// The finaliser of SplitMix64: a bijection in which every input bit changes every output bit half of the time.
constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// The same for 32 bits ("lowbias32"); sixteen of them fit a SIMD register.
constexpr std::uint32_t mix32(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

class Stream {
 public:
  constexpr Stream(std::uint64_t seed, Purpose purpose, std::uint64_t first = 0, std::uint64_t second = 0)
      : key_(chain(chain(chain(mix64(seed + kGolden), static_cast<std::uint64_t>(purpose)), first), second)) {}

  constexpr std::uint64_t key() const { return key_; }

  constexpr std::uint64_t bits(std::uint64_t index) const { return mix64(key_ + (index + 1) * kGolden); }

  // [0, 1), 53 bits
  constexpr double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1.0p-53; }

  constexpr double uniform(std::uint64_t index, double low, double high) const {
    return low + (high - low) * uniform(index);
  }

  // {0, ..., count - 1}
  constexpr std::uint64_t below(std::uint64_t index, std::uint64_t count) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(bits(index)) * count) >> 64);
  }

 private:
  static constexpr std::uint64_t chain(std::uint64_t key, std::uint64_t word) {
    return mix64(key ^ mix64(word + kGolden));
  }

  std::uint64_t key_;
};

// Dropout's masks. Elements are decided in pairs by the halves of one 32-bit word; the word depends on the layer's
// key, on the pair, and on the image's place in the batch. Any engine that follows this draws the same masks.
struct DropoutKey {
  std::uint32_t low, high;

  explicit constexpr DropoutKey(const Stream& stream)
      : low(static_cast<std::uint32_t>(stream.key())), high(static_cast<std::uint32_t>(stream.key() >> 32)) {}

  // The part that all images share.
  constexpr std::uint32_t pair_key(std::uint32_t pair) const { return mix32(pair + high) + low; }

  static constexpr std::uint32_t word(std::uint32_t pair_key, std::uint32_t image) { return mix32(pair_key + image); }

  // An element is kept when its half word is at least this.
  static constexpr std::uint32_t threshold(double probability) {
    return static_cast<std::uint32_t>(probability * 65536.0 + 0.5);
  }

  constexpr bool keeps(std::uint32_t image, std::uint32_t element, double probability) const {
    const std::uint32_t both = word(pair_key(element / 2), image);
    return (element % 2 == 0 ? both & 0xffffU : both >> 16) >= threshold(probability);
  }
};

}  // namespace mnistcnn::common
