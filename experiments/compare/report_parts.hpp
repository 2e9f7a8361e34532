#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"
#include "experiments/runs/curves.hpp"

// What a report is made of. A picture without data is left out.
namespace scalevec::experiments {

// All that the report of a comparison says beside its pictures. A number that is not finite is null.
nlohmann::json report_json(const Comparison& comparison, const Analysis& analysis);

// The variant of that name there, which must exist.
const nlohmann::json& variant_of(const nlohmann::json& report, const std::string& name);

// The answer of a comparison as a picture: each variant's difference to the baseline, best on top, with its 95 %
// interval and the one at Holm's level. Empty where no variant has a difference.
std::string forest_figure(const nlohmann::json& report);

// The parts of a report's page that are drawn from logs.
struct ReportPictures {
  std::string curves, predictions;  // HTML; empty: none
  std::string folder;               // of their files, beside the page
  bool several = false;             // runs, which the sentences on the predictions name
};

// The page of a report, of a comparison or of runs.
std::string report_page(const nlohmann::json& report, const ReportPictures& pictures);

// One group per variant that has a finished run at its best setting.
std::vector<RunGroup> run_groups(const Comparison& comparison, const Analysis& analysis);

// Loss, gradient norm, traces per parameter group, quantiles of γ.
std::vector<Plot> run_figures(const std::vector<RunGroup>& groups);

// Loss against lr for each variant, and the paired difference to the baseline during training.
std::vector<Plot> comparison_figures(const Comparison& comparison, const Analysis& analysis,
                                     const std::vector<RunGroup>& groups);

}  // namespace scalevec::experiments
