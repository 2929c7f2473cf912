#include "mnistcnn/network/graph.h"

#include <sstream>

#include "mnistcnn/common/text.h"

namespace mnistcnn::network {
namespace {

void print(std::ostream& stream, const Pair& pair) { stream << '[' << pair.height << ", " << pair.width << ']'; }
void print(std::ostream& stream, const Border& border) {
  stream << '[' << border.top << ", " << border.bottom << ", " << border.left << ", " << border.right << ']';
}
void print(std::ostream& stream, const Shape& shape) { stream << common::bracketed(shape); }
void print(std::ostream& stream, bool value) { stream << (value ? "true" : "false"); }
void print(std::ostream& stream, double value) { stream << value; }
void print(std::ostream& stream, std::int64_t value) { stream << value; }
void print(std::ostream& stream, const std::string& value) { stream << value; }

}  // namespace

const char* suffix_of(Role role) {
  constexpr const char* kSuffixes[kRoles] = {"weight", "bias", "running_mean", "running_var"};
  return kSuffixes[static_cast<std::size_t>(role)];
}

std::string to_string(const Layer& layer) {
  std::ostringstream stream;
  stream << op_name(layer) << '(';
  std::visit(
      [&](const auto& each) {
        const char* separator = "";
        each.visit(each, [&](const char* name, const auto& value) {
          stream << separator << name << '=';
          print(stream, value);
          separator = ", ";
        });
      },
      layer);
  return stream.str() + ")";
}

}  // namespace mnistcnn::network
