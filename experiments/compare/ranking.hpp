#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scalevec/experiments/compare/analysis.hpp"

// A comparison's variants in order of loss, and which of their differences to the baseline the seeds resolve.
namespace scalevec {

enum class Resolution {
  none,         // the baseline itself, or no interval
  open,         // the 95 % interval includes zero
  uncorrected,  // it excludes zero, but not at the level that Holm's correction asks for
  corrected     // excludes zero there too
};

struct Ranked {
  size_t variant = 0;  // index into Analysis::variants
  // The difference at the variant's own best setting with its interval at the level at which Holm's procedure tests it
  // among all variants but the baseline, also those without a pair; empty for the baseline.
  std::optional<MeanInterval> corrected;
  double adjusted_p = 1.0;
  Resolution resolution = Resolution::none;
};

// Best first, by the mean paired difference at own best settings, the baseline's being 0. Variants without a pair come
// after, by their loss where they have one.
std::vector<Ranked> ranking(const Analysis& analysis);

// One aligned line per variant under a line of heads: rank, variant, loss, difference to the baseline with its 95 %
// interval, and what the interval says.
std::string ranking_text(const Analysis& analysis);

// Columns that a terminal needs for UTF-8 text: none for combining marks, two for wide characters.
size_t display_width(const std::string& text);

}  // namespace scalevec
