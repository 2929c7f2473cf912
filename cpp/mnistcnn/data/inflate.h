#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// Reads gzip files without zlib, whose headers few users have.
namespace mnistcnn::data {

bool is_gzip(std::span<const std::uint8_t> bytes);

// The content of a gzip file (RFC 1952), all its members one after the other, checksums and lengths verified.
// Never holds more than `most` bytes of content, whatever the file claims.
// Throws common::FileError that says what is wrong with the bytes (the caller adds the file's name).
std::vector<std::uint8_t> gunzip(std::span<const std::uint8_t> bytes, std::size_t most);

// Only the first `count` bytes of the content, or all of it when there is less. The rest is not looked at.
std::vector<std::uint8_t> gunzip_head(std::span<const std::uint8_t> bytes, std::size_t count);

}  // namespace mnistcnn::data
