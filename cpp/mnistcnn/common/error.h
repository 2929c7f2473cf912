#pragma once
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

// Exception types of the core. Invalid arguments are std::invalid_argument (ValueError in Python) and invalid indices
// std::out_of_range (IndexError). This file adds the types that the standard library lacks.
namespace mnistcnn::common {

// The file cannot be read, or its content is invalid. OSError in Python.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The file does not exist. FileNotFoundError in Python.
class FileNotFoundError : public FileError {
 public:
  using FileError::FileError;
};

// The system does not provide the memory for a request. MemoryError in Python.
class OutOfMemoryError : public std::bad_alloc {
 public:
  explicit OutOfMemoryError(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// The loss or the weights became infinite or NaN during training. mnistcnn.DivergedError in Python.
class DivergedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace mnistcnn::common
