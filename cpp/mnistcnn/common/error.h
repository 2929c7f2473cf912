#pragma once
#include <stdexcept>
#include <string>

// The kinds of errors a caller can act on. Wrong arguments are std::invalid_argument (ValueError in Python),
// wrong indices std::out_of_range (IndexError); these are the ones the standard library has no name for.
namespace mnistcnn::common {

// A file that can't be read, or whose content is not what it claims to be (OSError).
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A file that isn't there (FileNotFoundError).
class FileMissing : public FileError {
 public:
  using FileError::FileError;
};

// Training left the finite numbers (mnistcnn.DivergedError).
class DivergedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mnistcnn::common
