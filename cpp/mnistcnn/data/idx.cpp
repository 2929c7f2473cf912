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
constexpr std::size_t kMaxDimensions = 4;
constexpr std::size_t kMaxHeaderBytes = 4 + 4 * kMaxDimensions;

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

// Return the size of a file with this header. Throw FileError if the array is empty or the size overflows.
std::size_t total_bytes(const Header& header, const std::string& name) {
  std::size_t product = header.element_bytes;
  for (const std::int64_t size : header.shape) {
    const auto factor = static_cast<std::size_t>(size);
    if (factor == 0)
      throw FileError(text(name, ": the IDX array has shape ", common::bracketed(header.shape), ", which is empty"));
    if (product > (static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max()) - kMaxHeaderBytes) / factor) {
      throw FileError(
          text(name, ": the shape ", common::bracketed(header.shape), " in the IDX header is too large for a file"));
    }
    product *= factor;
  }
  return product + header.header_bytes;
}

// start: at least the first 20 bytes of the content, or all of it.
Header parse_header(std::span<const std::uint8_t> start, const std::string& name) {
  if (start.empty()) throw FileError(text(name, ": the file is empty, expected an IDX file"));
  if (start.size() >= 2 && start[0] == 0x1f && start[1] == 0x8b)
    throw FileError(text(name, ": compressed with gzip, expected a plain IDX file; decompress it first"));
  if (start.size() < 4 || start[0] != 0 || start[1] != 0) {
    throw FileError(text(name, ": not an IDX file: it starts with ",
                         hexadecimal(start.first(std::min<std::size_t>(4, start.size()))),
                         ", expected 00 00, the element type and the number of dimensions"));
  }
  Header header{start[2], {}, 4 + std::size_t{4} * start[3], start[2] == kInt32 ? 4U : 1U, 0};
  if (header.type != kUnsignedByte && header.type != kInt32) {
    throw FileError(text(name, ": IDX element type 0x", hexadecimal(start.subspan(2, 1)), type_name(header.type),
                         ", expected 0x08 (unsigned bytes) or 0x0c (32-bit integers)"));
  }
  if (start[3] < 1 || start[3] > kMaxDimensions) {
    throw FileError(text(name, ": the IDX array has ", int{start[3]}, " dimensions, expected 1 to ", kMaxDimensions));
  }
  if (start.size() < header.header_bytes) {
    throw FileError(text(name, ": truncated IDX header: ", start.size(), " bytes, but ", int{start[3]},
                         " dimensions require ", header.header_bytes));
  }
  for (std::size_t at = 4; at < header.header_bytes; at += 4) {
    header.shape.push_back(big_endian(start.data() + at));
  }
  header.total_bytes = total_bytes(header, name);
  return header;
}

void check_size(const Header& header, std::size_t actual_bytes, const std::string& name) {
  if (actual_bytes == header.total_bytes) return;
  throw FileError(text(name, actual_bytes < header.total_bytes ? ": truncated: " : ": trailing data: ", actual_bytes,
                       " bytes, but the shape ", common::bracketed(header.shape), " in the IDX header requires ",
                       header.total_bytes));
}

// Memory for the elements is allocated only after the size of the content was checked against the header.
IdxArray read_elements(const Header& header, std::span<const std::uint8_t> content, const std::string& name) {
  check_size(header, content.size(), name);
  const std::span<const std::uint8_t> elements = content.subspan(header.header_bytes);
  if (header.type == kUnsignedByte) return {header.shape, Bytes(elements.begin(), elements.end())};
  std::vector<std::int32_t> values(elements.size() / 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(big_endian(elements.data() + 4 * i));
  }
  return {header.shape, std::move(values)};
}

// Read the first max_bytes bytes, or fewer if the file is smaller.
Bytes read_bytes(const std::filesystem::path& path, std::size_t max_bytes) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw FileError(text(path.string(), ": cannot be opened for reading"));
  Bytes bytes(max_bytes);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(max_bytes));
  if (stream.bad()) throw FileError(text(path.string(), ": read error"));
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  return bytes;
}

// Check the header and the file size, so that a large file of another format is not read.
void check_header(const std::filesystem::path& path, std::size_t file_bytes) {
  const Bytes start = read_bytes(path, std::min(file_bytes, kMaxHeaderBytes));
  check_size(parse_header(start, path.string()), file_bytes, path.string());
}

}  // namespace

std::size_t idx_file_bytes(std::span<const std::uint8_t> start, const std::string& name) {
  return parse_header(start, name).total_bytes;
}

IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& name) {
  return read_elements(parse_header(bytes, name), bytes, name);
}

IdxArray read_idx(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
      throw FileError(text(path.string(), ": ", error.message()));
    }
    throw common::FileNotFoundError(text(path.string(), ": no such file"));
  }
  if (!std::filesystem::is_regular_file(status)) throw FileError(text(path.string(), ": not a regular file"));
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw FileError(text(path.string(), ": ", error.message()));
  check_header(path, static_cast<std::size_t>(size));
  try {
    return parse_idx(read_bytes(path, static_cast<std::size_t>(size)), path.string());
  } catch (const std::bad_alloc&) {
    throw FileError(text(path.string(), ": ", size, " bytes do not fit into memory"));
  }
}

}  // namespace mnistcnn::data
