#pragma once
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "bindings.h"
#include "mnistcnn/common/text.h"

// Values of Python with a kind and named settings, as alternatives of a std::variant whose structs list their fields in
// `visit`.
namespace mnistcnn::bindings {

template <class Field>
void read_setting(const py::handle& value, Field& field) {
  field = value.cast<Field>();
}

// The alternative of this kind, all of its fields from `settings`; `known` counts them. A missing one raises
// std::invalid_argument.
template <class Variant, std::size_t... index>
Variant read_alternative(const std::string& kind, const py::dict& settings, std::size_t& known, const char* what,
                         std::index_sequence<index...>) {
  std::optional<Variant> found;
  const auto read = [&](auto each) {
    if (kind != each.kKind) return;
    each.visit(each, [&](const char* name, auto& field) {
      if (!settings.contains(name))
        throw std::invalid_argument(common::text(each.kKind, " lacks the setting '", name, "'"));
      read_setting(settings[name], field);
      ++known;
    });
    found = std::move(each);
  };
  (read(std::variant_alternative_t<index, Variant>{}), ...);
  if (!found) throw std::invalid_argument(common::text("there is no ", what, " '", kind, "'"));
  return *found;
}

template <class Variant>
Variant read_alternative(const std::string& kind, const py::dict& settings, std::size_t& known, const char* what) {
  return read_alternative<Variant>(kind, settings, known, what,
                                   std::make_index_sequence<std::variant_size_v<Variant>>{});
}

}  // namespace mnistcnn::bindings
