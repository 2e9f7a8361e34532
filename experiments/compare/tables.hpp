#pragma once

#include <string>
#include <vector>

#include "scalevec/experiments/compare/analysis.hpp"

// A comparison's numbers as words: the rows of its table and the sentences that say what they allow to conclude.
namespace scalevec {

// x with `decimals` digits after the point; "n/a" if it is not finite.
std::string fixed_text(double x, int decimals = 4);

struct ComparisonRow {
  std::string variant;
  std::string own_loss, own_setting;               // mean over seeds at its own best setting, and which
  std::string edge;                                // "lowest lr of the grid", or empty
  std::string matched_loss;                        // at the baseline's best setting
  std::string own_difference, matched_difference;  // "+0.0123 [-0.0010, +0.0256]"; "baseline" for it
  std::string seeds_needed;                        // for an interval of ±kVisibleEffect at its own best setting
  std::string runs;                                // "9 of 9, 1 diverged"
};

inline constexpr double kVisibleEffect = 0.01;

std::vector<ComparisonRow> comparison_rows(const Analysis& analysis);

// What differs from the baseline (a sentence for each variant that does, best first), what the seeds do not resolve,
// how small an effect could be seen, how settings were chosen, edges, divergence and missing cells: a sentence each.
std::vector<std::string> findings(const Grid& grid, const Analysis& analysis);

// The last of these: edges, divergence and missing cells.
std::vector<std::string> warnings(const Grid& grid, const Analysis& analysis);

}  // namespace scalevec
