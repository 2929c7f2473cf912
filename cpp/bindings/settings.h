#pragma once
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "bindings.h"
#include "mnistcnn/common/text.h"

// Conversion of a kind and a dictionary of settings to an alternative of a std::variant. The structs list their fields
// in `visit`.
namespace mnistcnn::bindings {

template <class Field>
void read_setting(const py::handle& value, Field& field) {
  field = value.cast<Field>();
}

// Return the alternative of this kind with all fields read from `settings`. Increment `known` for each field. Throw
// std::invalid_argument for an unknown kind or a missing field. what: the kind of object in messages.
template <class Variant, std::size_t... index>
Variant read_alternative(const std::string& kind, const py::dict& settings, std::size_t& known, const char* what,
                         std::index_sequence<index...>) {
  std::optional<Variant> found;
  const auto read = [&](auto each) {
    if (kind != each.kKind) return;
    each.visit(each, [&](const char* name, auto& field) {
      if (!settings.contains(name))
        throw std::invalid_argument(common::text(each.kKind, ": missing setting '", name, "'"));
      read_setting(settings[name], field);
      ++known;
    });
    found = std::move(each);
  };
  (read(std::variant_alternative_t<index, Variant>{}), ...);
  if (!found) throw std::invalid_argument(common::text("unknown ", what, " '", kind, "'"));
  return *found;
}

template <class Variant>
Variant read_alternative(const std::string& kind, const py::dict& settings, std::size_t& known, const char* what) {
  return read_alternative<Variant>(kind, settings, known, what,
                                   std::make_index_sequence<std::variant_size_v<Variant>>{});
}

}  // namespace mnistcnn::bindings
