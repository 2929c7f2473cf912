#include "mnistcnn/data/idx.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <string>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/random.h"

namespace mnistcnn::data {
namespace {

using common::FileError;
using Bytes = std::vector<std::uint8_t>;

Bytes header(std::uint8_t type, const std::vector<std::uint32_t>& shape) {
  Bytes bytes{0, 0, type, static_cast<std::uint8_t>(shape.size())};
  for (const std::uint32_t size : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(size >> shift));
  }
  return bytes;
}

Bytes idx(std::uint8_t type, const std::vector<std::uint32_t>& shape, const Bytes& elements) {
  Bytes bytes = header(type, shape);
  bytes.insert(bytes.end(), elements.begin(), elements.end());
  return bytes;
}

std::string message(const Bytes& bytes) {
  try {
    parse_idx(bytes, "file");
  } catch (const FileError& error) {
    return error.what();
  }
  return "no error";
}

// A file in the temporary directory, removed by the destructor.
class TemporaryFile {
 public:
  explicit TemporaryFile(const Bytes& bytes)
      : path_(std::filesystem::temp_directory_path() /
              ("mnistcnn-idx-test-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()))) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Idx, ReadsUnsignedBytesOfOneToFourDimensions) {
  const std::vector<std::vector<std::uint32_t>> shapes{{6}, {2, 3}, {1, 2, 3}, {3, 1, 2, 1}};
  for (const auto& shape : shapes) {
    const IdxArray array = parse_idx(idx(8, shape, {1, 2, 3, 250, 251, 252}), "file");
    EXPECT_EQ(array.shape, std::vector<std::int64_t>(shape.begin(), shape.end()));
    EXPECT_EQ(std::get<Bytes>(array.values), (Bytes{1, 2, 3, 250, 251, 252}));
  }
}

TEST(Idx, ReadsBigEndianIntegers) {
  const IdxArray array = parse_idx(idx(12, {2, 1}, {0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe}), "file");
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(array.values), (std::vector<std::int32_t>{258, -2}));
}

TEST(Idx, ReadsFiles) {
  const TemporaryFile file(idx(8, {2, 2}, {1, 2, 3, 4}));
  EXPECT_EQ(std::get<Bytes>(read_idx(file.path()).values), (Bytes{1, 2, 3, 4}));
}

TEST(Idx, ComputesTheFileSizeFromTheHeader) {
  EXPECT_EQ(idx_file_bytes(header(8, {60000, 28, 28}), "file"), 16U + 60000 * 28 * 28);
  EXPECT_EQ(idx_file_bytes(idx(12, {3}, {0, 0}), "file"), 8U + 3 * 4);
  EXPECT_THROW(idx_file_bytes(Bytes{0, 0, 8, 3, 0, 0}, "file"), FileError);
}

TEST(Idx, ThrowsForInvalidFiles) {
  EXPECT_THROW(read_idx("/nonexistent/file"), common::FileNotFoundError);
  EXPECT_THROW(read_idx(std::filesystem::temp_directory_path()), FileError);
  const TemporaryFile empty({});
  EXPECT_THROW(read_idx(empty.path()), FileError);
  const TemporaryFile foreign({'P', 'K', 3, 4, 5, 6, 7, 8});
  try {
    read_idx(foreign.path());
    FAIL() << "read a file of another format";
  } catch (const FileError& error) {
    EXPECT_EQ(std::string(error.what()),
              foreign.path().string() +
                  ": not an IDX file: it starts with 50 4b 03 04, expected 00 00, the element "
                  "type and the number of dimensions");
  }
}

TEST(Idx, ThrowsForInvalidBytes) {
  EXPECT_EQ(message({}), "file: the file is empty, expected an IDX file");
  EXPECT_EQ(message({0x1f, 0x8b, 8, 0}), "file: compressed with gzip, expected a plain IDX file; decompress it first");
  EXPECT_EQ(message({0, 0, 8}),
            "file: not an IDX file: it starts with 00 00 08, expected 00 00, the element type and the number of "
            "dimensions");
  EXPECT_EQ(message(idx(0x0d, {1}, {0, 0, 0, 0})),
            "file: IDX element type 0x0d (float32), expected 0x08 (unsigned bytes) or 0x0c (32-bit integers)");
  EXPECT_EQ(message({0, 0, 8, 0}), "file: the IDX array has 0 dimensions, expected 1 to 4");
  EXPECT_EQ(message(header(8, {1, 1, 1, 1, 1})), "file: the IDX array has 5 dimensions, expected 1 to 4");
  EXPECT_EQ(message({0, 0, 8, 3, 0, 0}), "file: truncated IDX header: 6 bytes, but 3 dimensions require 16");
  EXPECT_EQ(message(header(8, {0, 28})), "file: the IDX array has shape [0, 28], which is empty");
  EXPECT_EQ(message(idx(8, {2, 2}, {1, 2, 3})),
            "file: truncated: 15 bytes, but the shape [2, 2] in the IDX header requires 16");
  EXPECT_EQ(message(idx(8, {2, 2}, {1, 2, 3, 4, 5})),
            "file: trailing data: 17 bytes, but the shape [2, 2] in the IDX header requires 16");
}

TEST(Idx, ThrowsForHeadersWithHugeShapes) {
  const std::uint32_t largest = 0xffffffffU;
  EXPECT_NE(message(header(8, {largest, largest, largest, largest})).find("too large"), std::string::npos);
  EXPECT_NE(message(header(8, {largest, largest})).find("too large"), std::string::npos);
  EXPECT_NE(message(header(8, {largest, 1000})).find("truncated"), std::string::npos);
  EXPECT_NE(message(header(12, {1U << 31, 1U << 30, 2})).find("too large"), std::string::npos);
}

// ---- fuzzing ----

// Apply one to four edits: change a byte, flip a bit, remove or repeat bytes, or truncate.
Bytes mutated(Bytes bytes, const common::Stream& stream) {
  std::uint64_t next = 0;
  const auto below = [&](std::size_t count) { return static_cast<std::size_t>(stream.below(next++, count)); };
  for (std::size_t edits = 1 + below(4); edits > 0 && !bytes.empty(); --edits) {
    const std::size_t at = below(3) == 0 ? below(std::min<std::size_t>(bytes.size(), 24)) : below(bytes.size());
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto there = here + static_cast<std::ptrdiff_t>(below(std::min<std::size_t>(bytes.size() - at, 16) + 1));
    switch (below(6)) {
      case 0:
        *here = static_cast<std::uint8_t>(below(256));
        break;
      case 1:
        *here = static_cast<std::uint8_t>(*here ^ (1U << below(8)));
        break;
      case 2:
        bytes.erase(here, there);
        break;
      case 3: {
        const Bytes bytes_between(here, there);
        bytes.insert(here, bytes_between.begin(), bytes_between.end());
        break;
      }
      case 4:
        *here = below(2) == 0 ? 0 : 255;
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

TEST(Idx, MutatedBytesGiveAnArrayOrFileError) {
  const auto seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::cout << "seed " << seed << '\n';
  const Bytes original = idx(8, {3, 4, 5}, Bytes(60, 7));
  int arrays = 0;
  for (std::uint64_t round = 0; round < 6000; ++round) {
    const common::Stream stream(seed, common::Purpose::kSplit, round);
    const Bytes bytes = mutated(original, stream);
    try {
      const IdxArray array = parse_idx(bytes, "file");
      ++arrays;
      std::int64_t product = 1;
      for (const std::int64_t size : array.shape) product *= size;
      ASSERT_LE(product, static_cast<std::int64_t>(bytes.size())) << "round " << round;
    } catch (const FileError& error) {
      ASSERT_EQ(std::string(error.what()).rfind("file: ", 0), 0U) << "round " << round << ": " << error.what();
    }
  }
  EXPECT_GT(arrays, 0);  // some mutations change only elements
}

}  // namespace
}  // namespace mnistcnn::data
