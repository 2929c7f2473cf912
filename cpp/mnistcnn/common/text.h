#pragma once
#include <sstream>
#include <string>

namespace mnistcnn::common {

// Concatenate values that support operator<<: text("kernel ", 3, " is larger than ", 2).
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

// Format a sequence as "[1, 28, 28]".
template <class Numbers>
std::string bracketed(const Numbers& numbers) {
  std::ostringstream stream;
  const char* separator = "[";
  for (const auto& number : numbers) {
    stream << separator << number;
    separator = ", ";
  }
  return numbers.empty() ? "[]" : stream.str() + "]";
}

}  // namespace mnistcnn::common
