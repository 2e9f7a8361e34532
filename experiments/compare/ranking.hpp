#pragma once

#include <optional>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"

// The variants of a comparison in order of loss, and which of their differences to the baseline are resolved.
namespace scalevec::experiments {

// Whether the interval of a difference excludes zero.
enum class Resolution {
  none,         // the baseline itself, no interval, or one without width: the difference is the same for every seed
  open,         // the 95 % interval includes zero
  uncorrected,  // it excludes zero, but not at the level that Holm's correction asks for
  corrected     // excludes zero there too
};

struct Ranked {
  size_t variant = 0;  // index into Analysis::variants
  // The difference at the variant's own best setting, with its interval at the level at which Holm's procedure tests it
  // among all variants except the baseline, including those without a pair; empty for the baseline.
  std::optional<MeanInterval> corrected;
  double adjusted_p = 1.0;
  Resolution resolution = Resolution::none;
};

// The variants, best first, by the mean paired difference at own best settings, which is 0 for the baseline. Variants
// without a pair come last, by their loss if they have one.
std::vector<Ranked> ranking(const Analysis& analysis);

// A table as aligned text with one line per variant: rank, variant, loss, difference to the baseline with its 95 %
// interval, and what the interval says.
std::string ranking_text(const Analysis& analysis);

}  // namespace scalevec::experiments
