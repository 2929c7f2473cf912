#include "mnistcnn/data/idx.h"

#include <algorithm>
#include <fstream>
#include <ios>
#include <limits>
#include <new>
#include <system_error>

#include "mnistcnn/common/error.h"
#include "mnistcnn/common/text.h"

namespace mnistcnn::data {
namespace {

using common::FileError;
using common::text;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kUnsignedByte = 0x08, kInt32 = 0x0c;
constexpr std::size_t kMostDimensions = 4;
constexpr std::size_t kMostHeader = 4 + 4 * kMostDimensions;

struct Header {
  std::uint8_t type;
  std::vector<std::int64_t> shape;
  std::size_t header_bytes;
  std::size_t element_bytes;
  std::size_t total_bytes;  // of the whole file, header included
};

std::uint32_t big_endian(const std::uint8_t* b) {
  return static_cast<std::uint32_t>(b[0]) << 24 | static_cast<std::uint32_t>(b[1]) << 16 |
         static_cast<std::uint32_t>(b[2]) << 8 | b[3];
}

std::string hexadecimal(std::span<const std::uint8_t> bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string result;
  for (const std::uint8_t byte : bytes) {
    if (!result.empty()) result += ' ';
    result += kDigits[byte >> 4];
    result += kDigits[byte & 15];
  }
  return result;
}

const char* type_name(std::uint8_t type) {
  switch (type) {
    case 0x09:
      return " (signed bytes)";
    case 0x0b:
      return " (16-bit integers)";
    case 0x0d:
      return " (float32)";
    case 0x0e:
      return " (float64)";
    default:
      return "";
  }
}

// The number of bytes the shape needs, or an error when no file can hold them.
std::size_t total_bytes(const Header& header, const std::string& name) {
  std::size_t product = header.element_bytes;
  for (const std::int64_t size : header.shape) {
    const auto factor = static_cast<std::size_t>(size);
    if (factor == 0)
      throw FileError(text(name, ": an IDX array of shape ", common::bracketed(header.shape), " is empty"));
    if (product > (static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max()) - kMostHeader) / factor) {
      throw FileError(
          text(name, ": the IDX header's shape ", common::bracketed(header.shape), " is larger than any file"));
    }
    product *= factor;
  }
  return product + header.header_bytes;
}

// `start` holds at least the first 20 bytes of the content, or all of it.
Header parse_header(std::span<const std::uint8_t> start, const std::string& name) {
  if (start.empty()) throw FileError(text(name, ": the file is empty, expected an IDX file"));
  if (start.size() >= 2 && start[0] == 0x1f && start[1] == 0x8b)
    throw FileError(text(name, ": compressed with gzip, expected a plain IDX file; decompress it first"));
  if (start.size() < 4 || start[0] != 0 || start[1] != 0) {
    throw FileError(text(name, ": not an IDX file, begins with ",
                         hexadecimal(start.first(std::min<std::size_t>(4, start.size()))),
                         ", expected 00 00, an element type and the number of dimensions"));
  }
  Header header{start[2], {}, 4 + std::size_t{4} * start[3], start[2] == kInt32 ? 4U : 1U, 0};
  if (header.type != kUnsignedByte && header.type != kInt32) {
    throw FileError(text(name, ": IDX element type 0x", hexadecimal(start.subspan(2, 1)), type_name(header.type),
                         ", expected 0x08 (unsigned bytes) or 0x0c (32-bit integers)"));
  }
  if (start[3] < 1 || start[3] > kMostDimensions) {
    throw FileError(text(name, ": an IDX array of ", int{start[3]}, " dimensions, expected 1 to ", kMostDimensions));
  }
  if (start.size() < header.header_bytes) {
    throw FileError(text(name, ": truncated IDX header, ", start.size(), " bytes where ", int{start[3]},
                         " dimensions need ", header.header_bytes));
  }
  for (std::size_t at = 4; at < header.header_bytes; at += 4) {
    header.shape.push_back(big_endian(start.data() + at));
  }
  header.total_bytes = total_bytes(header, name);
  return header;
}

void check_size(const Header& header, std::size_t found, const std::string& name) {
  if (found == header.total_bytes) return;
  throw FileError(text(name, found < header.total_bytes ? ": truncated, " : ": trailing garbage, ", found,
                       " bytes where the IDX header's shape ", common::bracketed(header.shape), " needs ",
                       header.total_bytes));
}

// The content's header is trusted with room for its elements only after their number was checked.
IdxArray take_array(const Header& header, std::span<const std::uint8_t> content, const std::string& name) {
  check_size(header, content.size(), name);
  const std::span<const std::uint8_t> elements = content.subspan(header.header_bytes);
  if (header.type == kUnsignedByte) return {header.shape, Bytes(elements.begin(), elements.end())};
  std::vector<std::int32_t> values(elements.size() / 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(big_endian(elements.data() + 4 * i));
  }
  return {header.shape, std::move(values)};
}

// The first `most` bytes, or all.
Bytes read_bytes(const std::filesystem::path& path, std::size_t most) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw FileError(text(path.string(), ": can't be opened for reading"));
  Bytes bytes(most);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(most));
  if (stream.bad()) throw FileError(text(path.string(), ": reading failed"));
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  return bytes;
}

// What a look at the first bytes shows, before a large foreign file is read.
void check_start(const std::filesystem::path& path, std::size_t file_bytes) {
  const Bytes start = read_bytes(path, std::min(file_bytes, kMostHeader));
  check_size(parse_header(start, path.string()), file_bytes, path.string());
}

}  // namespace

std::size_t idx_file_bytes(std::span<const std::uint8_t> start, const std::string& name) {
  return parse_header(start, name).total_bytes;
}

IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& name) {
  return take_array(parse_header(bytes, name), bytes, name);
}

IdxArray read_idx(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
      throw FileError(text(path.string(), ": ", error.message()));
    }
    throw common::FileMissing(text(path.string(), ": no such file"));
  }
  if (!std::filesystem::is_regular_file(status)) throw FileError(text(path.string(), ": not a file"));
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw FileError(text(path.string(), ": ", error.message()));
  check_start(path, static_cast<std::size_t>(size));
  try {
    return parse_idx(read_bytes(path, static_cast<std::size_t>(size)), path.string());
  } catch (const std::bad_alloc&) {
    throw FileError(text(path.string(), ": ", size, " bytes don't fit into memory"));
  }
}

}  // namespace mnistcnn::data
