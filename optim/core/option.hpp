#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

// An option as data. Whoever has options describes them once, as a list of these; reading, checking, writing and the
// printed tables follow from it (optim/config/option_json.hpp).
namespace scalevec {

// An inclusive range unless an end is open. It contains finite numbers only.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  static constexpr Range at_least(double low) { return {low}; }
  static constexpr Range above(double low) { return {low, std::numeric_limits<double>::infinity(), true, false}; }
  static constexpr Range between(double low, double high) { return {low, high}; }
  static constexpr Range below(double low, double high) { return {low, high, false, true}; }  // [low, high)
  bool contains(double x) const;
  bool contains_integer(std::int64_t n) const;  // exactly, also beyond 2⁵³
  std::string text() const;                     // "at least 0", "[0, 1)", "a finite number"
};

// Where a value of an enumeration is stored. Its words are those of the option, in the order of the enumeration.
struct EnumValue {
  void* at = nullptr;
  std::size_t (*get)(const void*) = nullptr;
  void (*set)(void*, std::size_t) = nullptr;
};

template <class E>
EnumValue enum_value(E* at) {
  static_assert(std::is_enum_v<E>);
  return {at, [](const void* from) { return static_cast<std::size_t>(*static_cast<const E*>(from)); },
          [](void* to, std::size_t index) { *static_cast<E*>(to) = static_cast<E>(index); }};
}

struct Option {
  using Value = std::variant<std::int64_t*, std::uint64_t*, int*, double*, bool*, std::string*, EnumValue,
                             std::vector<std::int64_t>*, std::vector<double>*, std::vector<std::string>*>;

  std::string key;
  Value value;       // where the value is stored; what is there is the default
  Range range = {};  // of a number, or of every number of a list
  std::vector<std::string> words =
      {};                         // of a string or an enumeration: what is allowed; a string without words is free
  std::string_view meaning = {};  // one line, with unit and, where there is one, source
  bool required = false;
  bool written = true;                 // false: writing leaves the key out
  std::string_view default_text = {};  // of the printed table, where the default is not a fixed value
  bool later = false;                  // archives from before the option lack it
};

using Options = std::vector<Option>;

// The first value out of its range, as "field: got VALUE; allowed: …"; empty if there is none. `prefix` leads the
// field's name ("moe." or "").
std::string option_error(const Options& options, std::string_view prefix = {});

// "field: got VALUE; allowed: …"
std::string not_allowed(std::string_view field, std::string_view value, std::string_view allowed);
std::string not_allowed(std::string_view field, double value, std::string_view allowed);
template <std::integral T>
std::string not_allowed(std::string_view field, T value, std::string_view allowed) {
  return not_allowed(field, std::string_view(std::to_string(value)), allowed);
}

// What the option allows, as messages and tables say it: "an integer, [1, 1024]", "true, false", "l2, lr".
std::string allowed_text(const Option& option);

std::string joined(const std::vector<std::string>& words, std::string_view between = ", ");

// A number with up to 12 significant digits and no needless zeros; a larger integer up to 2⁵³ with all of them.
std::string number_text(double x);

}  // namespace scalevec
