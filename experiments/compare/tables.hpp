#pragma once

#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"

// A comparison as text: the rows of its table, and sentences that say what the numbers allow to conclude.
namespace scalevec::experiments {

// One variant.
struct ComparisonRow {
  std::string variant;
  std::string own_loss, own_setting;               // mean over seeds at its own best setting, and which
  std::string edge;                                // "lowest lr tried", or empty
  std::string matched_loss;                        // at the baseline's best setting
  std::string own_difference, matched_difference;  // "+0.0123 [-0.0010, +0.0256]"; "baseline" for it
  std::string seeds_needed;  // number of pairs for an interval of ±kVisibleEffect at its own best setting
  std::string runs;          // "9 of 9, 1 diverged"
};

// In units of the loss.
inline constexpr double kVisibleEffect = 0.01;

// One row per variant, in the order of the grid.
std::vector<ComparisonRow> comparison_rows(const Analysis& analysis);

// One sentence for each finding: variants that differ from the baseline (best first), what is not resolved, how small
// an effect could be resolved, how settings were chosen, and the warnings().
std::vector<std::string> findings(const Grid& grid, const Analysis& analysis);

// Only what a reader must not miss: settings at an end of the grid, differences without spread, divergence, missing
// cells.
std::vector<std::string> warnings(const Grid& grid, const Analysis& analysis);

// The same as lines for a terminal, and the first ten missing cells with the reason of each.
std::string warnings_text(const Grid& grid, const Analysis& analysis);

}  // namespace scalevec::experiments
