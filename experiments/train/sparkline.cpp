#include "experiments/train/sparkline.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace scalevec::experiments {

// NaN stays NaN under both: std::max would lose it.
double History::merged(double a, double b, double weight_of_b) const {
  if (!std::isfinite(a) || !std::isfinite(b)) return std::numeric_limits<double>::quiet_NaN();
  return keep_ == Keep::mean ? a + (b - a) * weight_of_b : std::max(a, b);
}

double History::summary(std::span<const double> values) const {
  double out = values.front();
  for (std::size_t i = 1; i < values.size(); ++i) out = merged(out, values[i], 1.0 / static_cast<double>(i + 1));
  return out;
}

void History::add(double value) {
  if (!values_.empty() && in_last_ < stretch_) {
    ++in_last_;
    values_.back() = merged(values_.back(), value, 1.0 / static_cast<double>(in_last_));
    return;
  }
  if (values_.size() == capacity_) {
    for (std::size_t i = 0; i < capacity_ / 2; ++i) values_[i] = merged(values_[2 * i], values_[2 * i + 1], 0.5);
    values_.resize(capacity_ / 2);
    stretch_ *= 2;
  }
  values_.push_back(std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN());
  in_last_ = 1;
}

std::string sparkline(std::span<const double> values, bool utf8) {
  constexpr std::array<const char*, 8> blocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array<const char*, 8> ascii{"_", ".", "-", "~", "=", "+", "*", "#"};
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : values)
    if (std::isfinite(v)) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
  std::string out;
  for (const double v : values) {
    if (!std::isfinite(v)) {
      out += '!';
      continue;
    }
    // Halved before they are subtracted: the range of large values may overflow.
    const double height = high > low ? (v / 2 - low / 2) / (high / 2 - low / 2) : 0.5;
    const auto level = std::min<std::size_t>(7, static_cast<std::size_t>(height * 8.0));
    out += utf8 ? blocks[level] : ascii[level];
  }
  return out;
}

}  // namespace scalevec::experiments
