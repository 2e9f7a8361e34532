#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"
#include "experiments/plot/plot.hpp"
#include "experiments/runs/run_group.hpp"

// The pictures of a report as plots, from the folders of runs. A picture without data is left out.
namespace scalevec::experiments {

// One group per variant that has a finished run at its best setting.
std::vector<RunGroup> run_groups(const Comparison& comparison, const Analysis& analysis);

// Loss, gradient norm, traces per parameter group, quantiles of γ.
std::vector<Plot> run_figures(const std::vector<RunGroup>& groups);

// Loss against lr for each variant, and the paired difference to the baseline during training.
std::vector<Plot> comparison_figures(const Comparison& comparison, const Analysis& analysis,
                                     const std::vector<RunGroup>& groups);

}  // namespace scalevec::experiments
