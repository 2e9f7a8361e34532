#include "optim/core/option.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

namespace scalevec {
namespace {

template <class T>
constexpr bool kIsList = false;
template <class T>
constexpr bool kIsList<std::vector<T>> = true;

std::string shown(double x) { return number_text(x); }
std::string shown(bool x) { return x ? "true" : "false"; }
template <std::integral T>
std::string shown(T x) {
  return std::to_string(x);
}
std::string shown(const std::string& text) { return text; }

template <class T>
bool allowed(const Option& option, const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return true;
  else if constexpr (std::is_integral_v<T>)
    return std::in_range<std::int64_t>(value) && option.range.contains_integer(static_cast<std::int64_t>(value));
  else if constexpr (std::is_floating_point_v<T>)
    return option.range.contains(static_cast<double>(value));
  else
    return option.words.empty() || std::find(option.words.begin(), option.words.end(), value) != option.words.end();
}

}  // namespace

bool Range::contains(double x) const {
  return std::isfinite(x) && (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
}

// As doubles 2⁵³ and 2⁵³ + 1 would be the same, so the ends are compared as integers.
bool Range::contains_integer(std::int64_t n) const {
  if (low >= 0x1p63 || high < -0x1p63) return false;
  const auto smallest = std::numeric_limits<std::int64_t>::min(), largest = std::numeric_limits<std::int64_t>::max();
  const auto first = low >= -0x1p63 ? static_cast<std::int64_t>(std::ceil(low)) : smallest;
  const auto last = high < 0x1p63 ? static_cast<std::int64_t>(std::floor(high)) : largest;
  const bool first_open = low_open && static_cast<double>(first) == low;
  const bool last_open = high_open && high < 0x1p63 && static_cast<double>(last) == high;
  return (first_open ? n > first : n >= first) && (last_open ? n < last : n <= last);
}

std::string Range::text() const {
  if (std::isinf(low) && std::isinf(high)) return "a finite number";
  if (std::isinf(high)) return (low_open ? "more than " : "at least ") + number_text(low);
  return (low_open ? "(" : "[") + number_text(low) + ", " + number_text(high) + (high_open ? ")" : "]");
}

std::string number_text(double x) {
  std::ostringstream out;
  out.precision(12);
  out << x;
  // An integer that 12 digits do not give back, such as 2⁵³, is written whole.
  const bool whole = std::abs(x) <= 0x1p53 && std::floor(x) == x;
  return whole && std::stod(out.str()) != x ? std::to_string(static_cast<std::int64_t>(x)) : out.str();
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) (text += i == 0 ? "" : between) += words[i];
  return text;
}

std::string not_allowed(std::string_view field, std::string_view value, std::string_view allowed) {
  return std::string(field) + ": got " + std::string(value) + "; allowed: " + std::string(allowed);
}

std::string not_allowed(std::string_view field, double value, std::string_view allowed) {
  return not_allowed(field, number_text(value), allowed);
}

std::string allowed_text(const Option& option) {
  const auto of_range = [&](const char* what) {
    const Range& r = option.range;
    return std::isinf(r.low) && std::isinf(r.high) ? std::string(what) : std::string(what) + ", " + r.text();
  };
  return std::visit(
      [&](const auto& at) -> std::string {
        using T = std::remove_cvref_t<decltype(at)>;
        if constexpr (std::is_same_v<T, bool*>) return "true, false";
        if constexpr (std::is_same_v<T, double*>)
          return std::isinf(option.range.low) ? option.range.text() : of_range("a number");
        if constexpr (std::is_same_v<T, std::vector<double>*>) return of_range("numbers");
        if constexpr (std::is_same_v<T, std::vector<std::int64_t>*>) return of_range("integers");
        if constexpr (std::is_same_v<T, std::vector<std::string>*>)
          return option.words.empty() ? "a string or an array of strings" : joined(option.words);
        if constexpr (std::is_same_v<T, std::string*> || std::is_same_v<T, EnumValue>)
          return option.words.empty() ? "a string" : joined(option.words);
        return of_range("an integer");
      },
      option.value);
}

std::string option_error(const Options& options, std::string_view prefix) {
  for (const Option& option : options) {
    const std::string error = std::visit(
        [&](const auto& at) -> std::string {
          using T = std::remove_cvref_t<decltype(at)>;
          const std::string field = std::string(prefix) + option.key;
          if constexpr (std::is_same_v<T, EnumValue>) {
            return at.get(at.at) < option.words.size() ? "" : not_allowed(field, "?", joined(option.words));
          } else if constexpr (kIsList<std::remove_pointer_t<T>>) {
            for (const auto& value : *at)
              if (!allowed(option, value)) return not_allowed(field, shown(value), allowed_text(option));
            return {};
          } else {
            return allowed(option, *at) ? "" : not_allowed(field, shown(*at), allowed_text(option));
          }
        },
        option.value);
    if (!error.empty()) return error;
  }
  return {};
}

}  // namespace scalevec
