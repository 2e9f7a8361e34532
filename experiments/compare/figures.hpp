#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "scalevec/experiments/compare/analysis.hpp"
#include "scalevec/experiments/plot/plot.hpp"

// The pictures of a report as plots, from the folders of runs. A picture without data is left out.
namespace scalevec {

// Runs shown as one curve: a variant's seeds at its best setting, or a single run.
struct RunGroup {
  std::string label;
  std::vector<std::filesystem::path> runs;  // finished ones only; the first stands for the group where one run is shown
  std::vector<std::int64_t> seeds;          // of the runs
  int color = 0;                            // in every picture
};

// One group per variant that has a finished run at its best setting.
std::vector<RunGroup> run_groups(const Comparison& comparison, const Analysis& analysis);

// Loss, gradient norm, traces per parameter group, quantiles of γ.
std::vector<Plot> run_figures(const std::vector<RunGroup>& groups);

// Loss against lr for each variant, and the paired difference to the baseline during training.
std::vector<Plot> comparison_figures(const Comparison& comparison, const Analysis& analysis,
                                     const std::vector<RunGroup>& groups);

}  // namespace scalevec
