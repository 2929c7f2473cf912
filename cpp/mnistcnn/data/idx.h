#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <variant>
#include <vector>

// Reader of IDX, the file format of MNIST: two zero bytes, the element type, the number of dimensions, the dimensions
// as big-endian u32, the elements. The caller decompresses compressed files.
namespace mnistcnn::data {

// Elements by type code: 0x08 unsigned bytes, 0x0c 32-bit integers (labels of QMNIST).
using IdxValues = std::variant<std::vector<std::uint8_t>, std::vector<std::int32_t>>;

struct IdxArray {
  std::vector<std::int64_t> shape;  // 1 to 4 dimensions, each at least 1
  IdxValues values;                 // row-major
};

// Read a file. Throw common::FileNotFoundError if it does not exist, common::FileError if it cannot be read or does not
// hold exactly one array.
IdxArray read_idx(const std::filesystem::path& path);

// Parse the content of a file. name: the name of the file in error messages.
IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& name);

// Return the size in bytes of a file, header included. start: at least its first 20 bytes, or all if it is shorter.
std::size_t idx_file_bytes(std::span<const std::uint8_t> start, const std::string& name);

}  // namespace mnistcnn::data
