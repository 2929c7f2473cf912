#include "mnistcnn/data/inflate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::data {
namespace {

using common::FileError;
using common::text;

constexpr int kLongestCode = 15;
constexpr int kRootBits = 10;  // codes up to here are found with one look
constexpr std::size_t kLongestStored = 65535;
constexpr std::size_t kSlack = 16;  // matches are copied in words, which may write past their end

[[noreturn]] void damaged(const char* what) { throw FileError(text("damaged gzip data: ", what)); }
[[noreturn]] void truncated() { throw FileError("truncated gzip data: the bytes end before the content does"); }

// ---- bits ----

// The bits of a deflate stream, the lowest of each byte first.
class BitReader {
 public:
  BitReader(const std::uint8_t* begin, const std::uint8_t* end) : next_(begin), end_(end) {}

  // At least 48 bits. After the end they are zeros; require_real_bits() finds out whether any of those were
  // used.
  std::uint64_t peek() {
    if (count_ < 48) refill();
    return bits_;
  }

  void skip(int count) {
    bits_ >>= count;
    count_ -= count;
  }

  std::uint32_t take(int count) {
    const std::uint64_t bits = peek() & ((std::uint64_t{1} << count) - 1);
    skip(count);
    return static_cast<std::uint32_t>(bits);
  }

  void require_real_bits() const {
    if (count_ < phantom_) truncated();
  }

  // Goes to the next whole byte and hands out the rest of the stream.
  const std::uint8_t* byte_position() {
    skip(count_ % 8);
    require_real_bits();
    return next_ - (count_ - phantom_) / 8;
  }

  void jump(const std::uint8_t* to) {
    next_ = to;
    bits_ = 0;
    count_ = phantom_ = 0;
  }

 private:
  void refill() {
    if (end_ - next_ >= 8 && std::endian::native == std::endian::little) {
      std::uint64_t word = 0;
      std::memcpy(&word, next_, 8);
      const int bytes = (63 - count_) / 8;
      bits_ |= (word & ((std::uint64_t{1} << (8 * bytes)) - 1)) << count_;
      next_ += bytes;
      count_ += 8 * bytes;
      return;
    }
    while (count_ <= 55) {
      if (next_ < end_) {
        bits_ |= static_cast<std::uint64_t>(*next_++) << count_;
      } else {
        phantom_ += 8;
        if (phantom_ > 128) truncated();
      }
      count_ += 8;
    }
  }

  const std::uint8_t* next_;
  const std::uint8_t* end_;
  std::uint64_t bits_ = 0;
  int count_ = 0;    // bits in bits_, phantom ones included
  int phantom_ = 0;  // zeros that were made up after the end
};

// ---- codes ----

// What a code stands for, and how many bits it has; bits 0: no such code.
struct Entry {
  std::uint16_t symbol = 0;
  std::uint8_t bits = 0;
};

// Canonical Huffman codes. Short ones are found in a table, the few longer ones bit by bit.
class Codes {
 public:
  // lengths[s] is the number of bits of symbol s, 0 when it doesn't occur.
  void build(std::span<const std::uint8_t> lengths, bool may_be_incomplete) {
    counts_.fill(0);
    for (const std::uint8_t length : lengths) ++counts_[length];
    counts_[0] = 0;
    int left = 1;
    for (int bits = 1; bits <= kLongestCode; ++bits) {
      left = 2 * left - counts_[static_cast<std::size_t>(bits)];
      if (left < 0) damaged("a Huffman code has too many words");
    }
    if (left > 0 && !may_be_incomplete) damaged("a Huffman code is incomplete");
    sort(lengths);
    fill_root();
  }

  std::uint32_t decode(BitReader& reader) const {
    const std::uint64_t bits = reader.peek();
    const Entry entry = root_[bits & ((1U << kRootBits) - 1)];
    if (entry.bits != 0) {
      reader.skip(entry.bits);
      return entry.symbol;
    }
    return decode_long(reader, bits);
  }

 private:
  void sort(std::span<const std::uint8_t> lengths) {
    std::array<std::uint16_t, kLongestCode + 2> next{};
    for (std::size_t bits = 1; bits <= kLongestCode; ++bits) {
      next[bits + 1] = static_cast<std::uint16_t>(next[bits] + counts_[bits]);
    }
    for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) symbols_[next[lengths[symbol]]++] = static_cast<std::uint16_t>(symbol);
    }
  }

  void fill_root() {
    root_.fill({});
    std::uint32_t code = 0;
    std::size_t index = 0;
    for (int bits = 1; bits <= kRootBits; ++bits) {
      code <<= 1;
      for (int i = 0; i < counts_[static_cast<std::size_t>(bits)]; ++i, ++code, ++index) {
        std::uint32_t reversed = 0;  // a code's first bit is its highest, the stream's first bit the lowest
        for (int b = 0; b < bits; ++b) reversed |= ((code >> b) & 1U) << (bits - 1 - b);
        for (std::uint32_t at = reversed; at < root_.size(); at += 1U << bits) {
          root_[at] = {symbols_[index], static_cast<std::uint8_t>(bits)};
        }
      }
    }
  }

  std::uint32_t decode_long(BitReader& reader, std::uint64_t bits) const {
    int code = 0, first = 0, index = 0;
    for (int length = 1; length <= kLongestCode; ++length) {
      code |= static_cast<int>((bits >> (length - 1)) & 1U);
      const int count = counts_[static_cast<std::size_t>(length)];
      if (code - first < count) {
        reader.skip(length);
        return symbols_[static_cast<std::size_t>(index + code - first)];
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    damaged("a bit pattern that is no code");
  }

  std::array<std::uint16_t, kLongestCode + 1> counts_{};  // codes of each length
  std::array<std::uint16_t, 288> symbols_{};              // by length, then by value
  std::array<Entry, 1U << kRootBits> root_{};
};

// ---- output ----

struct Full {};  // thrown and caught in this file

// The content so far. Grows by doubling up to `most`; `slack` bytes past the end may be scribbled on.
class Output {
 public:
  explicit Output(std::size_t most) : most_(most) {}

  // Room for `count` more bytes.
  std::uint8_t* reserve(std::size_t count) {
    if (count > most_ - size_) throw Full{};
    if (size_ + count + kSlack > bytes_.size()) {
      const std::size_t doubled = std::min(most_, std::max<std::size_t>(2 * size_, 65536));
      bytes_.resize(std::max(doubled, size_ + count) + kSlack);
    }
    return bytes_.data() + size_;
  }

  void advance(std::size_t count) { size_ += count; }
  std::size_t size() const { return size_; }
  std::size_t room() const { return std::min(most_, bytes_.size() < kSlack ? 0 : bytes_.size() - kSlack) - size_; }
  std::span<const std::uint8_t> from(std::size_t start) const { return {bytes_.data() + start, size_ - start}; }

  void put(std::uint8_t byte) {
    if (room() == 0) reserve(1);
    bytes_[size_++] = byte;
  }

  void repeat(std::size_t distance, std::size_t length) {
    if (room() < length) reserve(length);
    std::uint8_t* to = bytes_.data() + size_;
    const std::uint8_t* from = to - distance;
    if (distance == 1) {
      std::memset(to, *from, length);
    } else if (distance >= 8) {
      for (std::size_t i = 0; i < length; i += 8) std::memcpy(to + i, from + i, 8);
    } else {
      for (std::size_t i = 0; i < length; ++i) to[i] = from[i];
    }
    size_ += length;
  }

  std::vector<std::uint8_t> finish() {
    bytes_.resize(size_);
    return std::move(bytes_);
  }

 private:
  std::size_t most_;
  std::size_t size_ = 0;
  std::vector<std::uint8_t> bytes_;
};

// ---- deflate (RFC 1951) ----

struct Range {
  std::uint16_t base;
  std::uint8_t extra_bits;
};

constexpr std::array<Range, 29> kLengths{{{3, 0},   {4, 0},   {5, 0},   {6, 0},   {7, 0},  {8, 0},  {9, 0},  {10, 0},
                                          {11, 1},  {13, 1},  {15, 1},  {17, 1},  {19, 2}, {23, 2}, {27, 2}, {31, 2},
                                          {35, 3},  {43, 3},  {51, 3},  {59, 3},  {67, 4}, {83, 4}, {99, 4}, {115, 4},
                                          {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0}}};

constexpr std::array<Range, 30> kDistances{{{1, 0},     {2, 0},     {3, 0},     {4, 0},      {5, 1},      {7, 1},
                                            {9, 2},     {13, 2},    {17, 3},    {25, 3},     {33, 4},     {49, 4},
                                            {65, 5},    {97, 5},    {129, 6},   {193, 6},    {257, 7},    {385, 7},
                                            {513, 8},   {769, 8},   {1025, 9},  {1537, 9},   {2049, 10},  {3073, 10},
                                            {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13}}};

struct BlockCodes {
  Codes literals, distances;
};

void read_fixed_codes(BlockCodes& codes) {
  std::array<std::uint8_t, 288> literals{};
  for (std::size_t s = 0; s < literals.size(); ++s) {
    literals[s] = static_cast<std::uint8_t>(s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8);
  }
  std::array<std::uint8_t, 30> distances{};
  distances.fill(5);
  codes.literals.build(literals, false);
  codes.distances.build(distances, true);
}

// A run of a code length: which symbols announce it, what is repeated, and how often.
std::size_t read_run(std::uint32_t symbol, BitReader& reader) {
  if (symbol == 16) return 3 + reader.take(2);
  if (symbol == 17) return 3 + reader.take(3);
  return 11 + reader.take(7);
}

void read_dynamic_codes(BitReader& reader, BlockCodes& codes) {
  constexpr std::array<std::uint8_t, 19> kOrder{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  const std::size_t literals = reader.take(5) + 257, distances = reader.take(5) + 1, count = reader.take(4) + 4;
  if (literals > 286 || distances > 30) damaged("a block announces more codes than there are");
  std::array<std::uint8_t, 19> short_lengths{};
  for (std::size_t i = 0; i < count; ++i) short_lengths[kOrder[i]] = static_cast<std::uint8_t>(reader.take(3));
  codes.literals.build(short_lengths, false);

  std::array<std::uint8_t, 286 + 30> lengths{};
  for (std::size_t i = 0; i < literals + distances;) {
    const std::uint32_t symbol = codes.literals.decode(reader);
    reader.require_real_bits();
    if (symbol < 16) {
      lengths[i++] = static_cast<std::uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && i == 0) damaged("a code length repeats the one before the first");
    const std::uint8_t value = symbol == 16 ? lengths[i - 1] : std::uint8_t{0};
    const std::size_t run = read_run(symbol, reader);
    if (run > literals + distances - i) damaged("code lengths run past their end");
    std::fill_n(lengths.begin() + static_cast<std::ptrdiff_t>(i), run, value);
    i += run;
  }
  const std::span<const std::uint8_t> all(lengths);
  if (all[256] == 0) damaged("a block has no end");
  const std::span<const std::uint8_t> distance_lengths = all.subspan(literals, distances);
  // One code of one bit may stand alone; no distance code at all is a block of literals only.
  const auto used = std::count_if(distance_lengths.begin(), distance_lengths.end(), [](auto l) { return l > 0; });
  const bool single = used == 0 || (used == 1 && std::ranges::count(distance_lengths, 1) == 1);
  codes.literals.build(all.first(literals), false);
  codes.distances.build(distance_lengths, single);
}

void read_stored_block(BitReader& reader, const std::uint8_t* end, Output& output) {
  const std::uint8_t* at = reader.byte_position();
  if (end - at < 4) truncated();
  const auto length = static_cast<std::uint32_t>(at[0] | at[1] << 8);
  const auto complement = static_cast<std::uint32_t>(at[2] | at[3] << 8);
  if (length != (complement ^ 0xffffU)) damaged("the length of a stored block and its complement differ");
  at += 4;
  if (static_cast<std::size_t>(end - at) < length) truncated();
  if (length > 0) std::memcpy(output.reserve(length), at, length);
  output.advance(length);
  reader.jump(at + length);
}

void read_coded_block(BitReader& reader, const BlockCodes& codes, std::size_t start, Output& output) {
  for (;;) {
    const std::uint32_t symbol = codes.literals.decode(reader);
    if (symbol < 256) {
      output.put(static_cast<std::uint8_t>(symbol));
      continue;
    }
    reader.require_real_bits();
    if (symbol == 256) return;
    if (symbol > 285) damaged("a length that does not exist");
    const Range length = kLengths[symbol - 257];
    const std::size_t copied = length.base + reader.take(length.extra_bits);
    const std::uint32_t distance_symbol = codes.distances.decode(reader);
    if (distance_symbol > 29) damaged("a distance that does not exist");
    const Range range = kDistances[distance_symbol];
    const std::size_t distance = range.base + reader.take(range.extra_bits);
    if (distance > output.size() - start) damaged("a match reaches back before the beginning");
    output.repeat(distance, copied);
  }
}

void read_blocks(BitReader& reader, const std::uint8_t* end, Output& output) {
  BlockCodes codes;
  const std::size_t start = output.size();
  for (bool last = false; !last;) {
    last = reader.take(1) != 0;
    const std::uint32_t type = reader.take(2);
    reader.require_real_bits();
    if (type == 3) damaged("a block of an unknown type");
    if (type == 0) {
      read_stored_block(reader, end, output);
      continue;
    }
    type == 1 ? read_fixed_codes(codes) : read_dynamic_codes(reader, codes);
    read_coded_block(reader, codes, start, output);
  }
}

// Reads one deflate stream and returns the position after it.
const std::uint8_t* inflate(const std::uint8_t* begin, const std::uint8_t* end, Output& output) {
  BitReader reader(begin, end);
  try {
    read_blocks(reader, end, output);
  } catch (const FileError&) {
    reader.require_real_bits();  // what looks damaged is the end missing
    throw;
  }
  return reader.byte_position();
}

// ---- gzip (RFC 1952) ----

using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1;
    tables[0][n] = c;
  }
  for (std::size_t t = 1; t < 8; ++t) {
    for (std::size_t n = 0; n < 256; ++n) {
      tables[t][n] = (tables[t - 1][n] >> 8) ^ tables[0][tables[t - 1][n] & 255U];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

// Eight bytes at a time ("slicing by 8").
std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xffffffffU;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint8_t* b = bytes.data() + i;
    crc = kCrc[7][(crc ^ b[0]) & 255U] ^ kCrc[6][((crc >> 8) ^ b[1]) & 255U] ^ kCrc[5][((crc >> 16) ^ b[2]) & 255U] ^
          kCrc[4][(crc >> 24) ^ b[3]] ^ kCrc[3][b[4]] ^ kCrc[2][b[5]] ^ kCrc[1][b[6]] ^ kCrc[0][b[7]];
  }
  for (; i < bytes.size(); ++i) crc = kCrc[0][(crc ^ bytes[i]) & 255U] ^ (crc >> 8);
  return ~crc;
}

std::uint32_t little_endian(const std::uint8_t* b) {
  return b[0] | static_cast<std::uint32_t>(b[1]) << 8 | static_cast<std::uint32_t>(b[2]) << 16 |
         static_cast<std::uint32_t>(b[3]) << 24;
}

// Skips a member's header and returns where its deflate stream begins.
const std::uint8_t* skip_header(const std::uint8_t* at, const std::uint8_t* end) {
  enum Flag : unsigned { kHeaderCrc = 2, kExtra = 4, kName = 8, kComment = 16, kReserved = 0xe0 };
  if (end - at < 10) truncated();
  if (at[2] != 8) damaged("a compression method other than deflate");
  const unsigned flags = at[3];
  if ((flags & kReserved) != 0) damaged("reserved header flags are set");
  at += 10;
  if ((flags & kExtra) != 0) {
    if (end - at < 2) truncated();
    const std::ptrdiff_t length = at[0] | at[1] << 8;
    if (end - at < 2 + length) truncated();
    at += 2 + length;
  }
  for (const Flag zero_terminated : {kName, kComment}) {
    if ((flags & zero_terminated) == 0) continue;
    at = std::find(at, end, std::uint8_t{0});
    if (at == end) truncated();
    ++at;
  }
  if ((flags & kHeaderCrc) != 0) {
    if (end - at < 2) truncated();
    at += 2;
  }
  return at;
}

// One member; returns the position after it.
const std::uint8_t* read_member(const std::uint8_t* at, const std::uint8_t* end, Output& output) {
  const std::size_t start = output.size();
  at = inflate(skip_header(at, end), end, output);
  if (end - at < 8) truncated();
  const std::span<const std::uint8_t> content = output.from(start);
  if (little_endian(at + 4) != static_cast<std::uint32_t>(content.size())) damaged("the content's length is wrong");
  if (little_endian(at) != crc32(content)) damaged("the content's checksum (CRC-32) is wrong");
  return at + 8;
}

void read_members(std::span<const std::uint8_t> bytes, Output& output) {
  if (!is_gzip(bytes)) throw FileError("not gzip data: the first bytes are not 1f 8b");
  const std::uint8_t* at = bytes.data();
  const std::uint8_t* const end = at + bytes.size();
  while (at != end) {
    if (!is_gzip({at, static_cast<std::size_t>(end - at)})) {
      // Padding with zeros is usual (tape blocks); anything else is not.
      if (std::any_of(at, end, [](std::uint8_t byte) { return byte != 0; })) damaged("garbage after the end");
      return;
    }
    at = read_member(at, end, output);
  }
}

}  // namespace

bool is_gzip(std::span<const std::uint8_t> bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

std::vector<std::uint8_t> gunzip(std::span<const std::uint8_t> bytes, std::size_t most) {
  Output output(most);
  try {
    read_members(bytes, output);
  } catch (const Full&) {
    throw FileError(text("the gzip data holds more than the expected ", most, " bytes"));
  }
  return output.finish();
}

std::vector<std::uint8_t> gunzip_head(std::span<const std::uint8_t> bytes, std::size_t count) {
  // The last step before the limit writes at most a stored block, so `count` bytes are there when it is hit.
  Output output(count + kLongestStored);
  try {
    read_members(bytes, output);
  } catch (const Full&) {
  }
  std::vector<std::uint8_t> head = output.finish();
  head.resize(std::min(head.size(), count));
  return head;
}

}  // namespace mnistcnn::data
