#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

// Ratios of jobs that took turns in one run.
namespace scalevec::bench {

struct Interval {
  double middle, low, high;
};

// The median, and the order statistics that hold it with 95 % confidence whatever the distribution. Needs 8 values.
inline Interval median_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  const auto low = static_cast<size_t>(std::max(0.0, std::floor(n / 2 - 0.98 * std::sqrt(n))));
  return {values[values.size() / 2], values[low], values[values.size() - 1 - low]};
}

// Counters NAME, NAME_low and NAME_high.
inline void report_ratio(benchmark::State& state, const std::string& name, std::vector<double> ratios) {
  const Interval found = median_interval(std::move(ratios));
  state.counters[name] = found.middle;
  state.counters[name + "_low"] = found.low;
  state.counters[name + "_high"] = found.high;
}

}  // namespace scalevec::bench
