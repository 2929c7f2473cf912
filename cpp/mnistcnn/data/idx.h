#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <variant>
#include <vector>

// IDX, the file format of MNIST and its relatives: two zeros, the element type, the number of dimensions, the
// dimensions as big-endian u32, the elements. Compressed files are decompressed by the caller.
namespace mnistcnn::data {

// The elements by their type in the file: 0x08 unsigned bytes, 0x0c 32-bit integers (QMNIST's labels).
using IdxValues = std::variant<std::vector<std::uint8_t>, std::vector<std::int32_t>>;

struct IdxArray {
  std::vector<std::int64_t> shape;  // 1 to 4 dimensions, none of them 0
  IdxValues values;                 // the product of the shape, row-major
};

// Throws common::FileMissing when there is no such file, and common::FileError when it can't be read or is
// not exactly one such array: the text names the file, what was found and what was expected.
IdxArray read_idx(const std::filesystem::path& path);

// The same for bytes in memory; `name` is what errors call them.
IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& name);

// The size of a whole file, header included, that begins with `start`: at least 20 bytes, or all if there are fewer.
std::size_t idx_file_bytes(std::span<const std::uint8_t> start, const std::string& name);

}  // namespace mnistcnn::data
