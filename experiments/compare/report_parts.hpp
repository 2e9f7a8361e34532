#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"
#include "experiments/runs/curves.hpp"

// What a report is made of. A picture without data is left out.
namespace scalevec::experiments {

// All numbers in the report of a comparison. A number that is not finite is null.
nlohmann::json report_json(const Comparison& comparison, const Analysis& analysis);

// The answer of a comparison as a picture: each variant's difference to the baseline, best on top, with its 95 %
// interval and the one at Holm's level. Empty where no variant has a difference.
std::string forest_figure(const Analysis& analysis);

// One group per variant that has a finished run at its best setting.
std::vector<RunGroup> run_groups(const Comparison& comparison, const Analysis& analysis);

// Loss, gradient norm, traces per parameter group, quantiles of γ.
std::vector<Plot> run_figures(const std::vector<RunGroup>& groups);

// Loss against lr for each variant, and the paired difference to the baseline during training.
std::vector<Plot> comparison_figures(const Comparison& comparison, const Analysis& analysis,
                                     const std::vector<RunGroup>& groups);

}  // namespace scalevec::experiments
