#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optim/core/option.hpp"

// Numbers and lists as text.
namespace scalevec::experiments {

// What printf writes for `format`.
[[gnu::format(printf, 1, 2)]] std::string printed(const char* format, ...);

// A number of digits only; empty for other text, and for a number that is too large.
std::optional<std::int64_t> whole_number(std::string_view text);

// x with `decimals` digits after the point, or with four digits in all; "n/a" if it is not finite.
std::string fixed_text(double x, int decimals = 4);
std::string short_number(double x);

// "+0.0123 [-0.0010, +0.0256]", without the interval where `low` is not finite.
std::string interval_text(double x, double low, double high);

using scalevec::joined;
std::string joined(const std::vector<std::int64_t>& numbers);

// Lines of cells as columns of a terminal. The cells of the first column end at its right edge if `first_right`.
std::string columns_text(const std::vector<std::vector<std::string>>& lines, bool first_right = false);

}  // namespace scalevec::experiments
