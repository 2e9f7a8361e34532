#pragma once

#include <tuple>
#include <utility>

#include "optim/core/option.hpp"

// The options of a method as one table, from which its values, their setters and whatever reads and writes options
// follow.
namespace scalevec {

// Which values an option takes: numbers of the range, or one of `words`, separated by ", ".
struct OptionRange : Range {
  const char* words = "";
  bool later = false;  // archives from before the option lack it
};

// As the rows of a table name them.
inline namespace option_ranges {
inline constexpr OptionRange kFraction{Range::below(0.0, 1.0)};
inline constexpr OptionRange kNonnegative{Range::at_least(0.0)};
inline constexpr OptionRange kAnyNumber{};
inline constexpr OptionRange kSwitch{};  // true, false
constexpr OptionRange from_to(double low, double high) { return {Range::between(low, high)}; }
constexpr OptionRange at_least(double low) { return {Range::at_least(low)}; }
constexpr OptionRange one_of(const char* words) { return {{}, words}; }
constexpr OptionRange later(OptionRange range) {
  range.later = true;
  return range;
}
}  // namespace option_ranges

// A row of the table. `Values` holds the option under its name, with its default.
template <class Values, class T>
struct OptionRow {
  const char* name;
  T Values::*member;
  OptionRange range;
  const char* meaning;  // one line, with the source of the default
};

}  // namespace scalevec

// In a method: SCALEVEC_OPTIONS((type, name, default, range, meaning), …), types double, bool, std::int64_t and, of
// matrix methods, std::string. Defines
//  - struct Values with a member per option and table(), a tuple of their OptionRows;
//  - Setters, which gives an options class `o.name()` to read, `o.name() = x` and `o.name(x).other(y)` to write.
#define SCALEVEC_OPTIONS(...)                                             \
  struct Values {                                                         \
    SCALEVEC_EACH(SCALEVEC_OPTION_MEMBER, __VA_ARGS__)                    \
    bool operator==(const Values&) const = default;                       \
    static constexpr auto table() {                                       \
      using namespace ::scalevec::option_ranges;                          \
      return std::tuple{SCALEVEC_EACH(SCALEVEC_OPTION_ROW, __VA_ARGS__)}; \
    }                                                                     \
  };                                                                      \
  template <class Derived, class Base>                                    \
  struct Setters : Base {                                                 \
    using Base::Base;                                                     \
    SCALEVEC_EACH(SCALEVEC_OPTION_SETTER, __VA_ARGS__)                    \
  };

#define SCALEVEC_OPTION_MEMBER(type, name, value, range, meaning) type name = value;
#define SCALEVEC_OPTION_ROW(type, name, value, range, meaning) \
  ::scalevec::OptionRow<Values, type>{#name, &Values::name, range, meaning},
#define SCALEVEC_OPTION_SETTER(type, name, value, range, meaning) \
  const type& name() const { return this->values_.name; }         \
  type& name() { return this->values_.name; }                     \
  Derived& name(type to) {                                        \
    this->values_.name = std::move(to);                           \
    return static_cast<Derived&>(*this);                          \
  }

// SCALEVEC_EACH(macro, (a), (b), …): macro(a) macro(b) …, of some 30 at most.
#define SCALEVEC_EACH(macro, ...) __VA_OPT__(SCALEVEC_EXPAND(SCALEVEC_EACH_ONE(macro, __VA_ARGS__)))
#define SCALEVEC_EACH_ONE(macro, first, ...) \
  macro first __VA_OPT__(SCALEVEC_EACH_AGAIN SCALEVEC_PARENTHESES(macro, __VA_ARGS__))
#define SCALEVEC_EACH_AGAIN() SCALEVEC_EACH_ONE
#define SCALEVEC_PARENTHESES ()
#define SCALEVEC_EXPAND(...) SCALEVEC_EXPAND3(SCALEVEC_EXPAND3(SCALEVEC_EXPAND3(__VA_ARGS__)))
#define SCALEVEC_EXPAND3(...) SCALEVEC_EXPAND2(SCALEVEC_EXPAND2(SCALEVEC_EXPAND2(__VA_ARGS__)))
#define SCALEVEC_EXPAND2(...) SCALEVEC_EXPAND1(SCALEVEC_EXPAND1(SCALEVEC_EXPAND1(__VA_ARGS__)))
#define SCALEVEC_EXPAND1(...) __VA_ARGS__
