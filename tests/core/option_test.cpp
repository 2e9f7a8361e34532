#include "optim/core/option.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "tests/support/catch.hpp"

using namespace scalevec;

namespace {

// By each bound's integer part and what is left of it.
bool reference(const Range& range, std::int64_t n) {
  const auto compare = [n](double bound) {  // sign of n − bound
    if (std::abs(bound) >= 0x1p63)
      return bound == -0x1p63 ? n != std::numeric_limits<std::int64_t>::min() : bound > 0 ? -1 : 1;
    const double whole = std::trunc(bound);
    const auto integer = static_cast<std::int64_t>(whole);
    if (n != integer) return n < integer ? -1 : 1;
    return bound > whole ? -1 : bound < whole ? 1 : 0;
  };
  const int low = compare(range.low), high = compare(range.high);
  return (range.low_open ? low > 0 : low >= 0) && (range.high_open ? high < 0 : high <= 0);
}

}  // namespace

TEST_CASE("a range contains an integer exactly, also where doubles are further apart than 1") {
  const std::int64_t largest = std::numeric_limits<std::int64_t>::max(), smallest = -largest - 1;
  CHECK(Range::between(0, 0x1p53).contains_integer(std::int64_t{1} << 53));
  CHECK_FALSE(Range::between(0, 0x1p53).contains_integer((std::int64_t{1} << 53) + 1));
  CHECK(Range::above(0x1p53).contains_integer((std::int64_t{1} << 53) + 1));
  CHECK(Range::at_least(1).contains_integer(largest));
  CHECK_FALSE(Range::below(0, 0x1p63).contains_integer(-1));
  CHECK(Range::below(0, 0x1p63).contains_integer(largest));
  CHECK(Range{}.contains_integer(smallest));

  std::mt19937_64 random(1);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto bound = [&]() -> double {
    const int kind = static_cast<int>(random() % 6);
    const double sign = random() % 2 ? 1 : -1;
    if (kind == 0) return sign * infinity;
    if (kind == 1) return sign * std::ldexp(1.0, static_cast<int>(random() % 66));
    if (kind == 2) return sign * static_cast<double>(random() % 8) / 4;
    return static_cast<double>(static_cast<std::int64_t>(random()) >> (random() % 64));
  };
  int inside = 0;
  for (int i = 0; i < 200'000; ++i) {
    Range range{bound(), bound(), random() % 2 == 0, random() % 2 == 0};
    if (range.low > range.high) std::swap(range.low, range.high);
    std::int64_t n = static_cast<std::int64_t>(random()) >> (random() % 64);
    const double end = random() % 2 ? range.low : range.high;
    if (random() % 2 && std::abs(end) < 0x1p62)
      n = static_cast<std::int64_t>(end) + static_cast<std::int64_t>(random() % 5) - 2;
    INFO(range.low << " " << range.low_open << " " << range.high << " " << range.high_open << " " << n);
    REQUIRE(range.contains_integer(n) == reference(range, n));
    inside += range.contains_integer(n);
  }
  CHECK(inside > 20'000);
  CHECK(inside < 180'000);
}

TEST_CASE("a number's text gives integers up to 2^53 back") {
  CHECK(number_text(0x1p53) == "9007199254740992");
  CHECK(number_text(1e12) == "1e+12");
  CHECK(number_text(1048576) == "1048576");
  CHECK(number_text(0.1) == "0.1");
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    const double x = static_cast<double>(static_cast<std::int64_t>(random()) >> (10 + random() % 54));
    CAPTURE(x);
    REQUIRE(std::stod(number_text(x)) == x);
  }
}
