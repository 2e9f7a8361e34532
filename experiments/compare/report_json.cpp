#include "experiments/compare/report_parts.hpp"

#include <algorithm>

#include "experiments/compare/ranking.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/record/record_files.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

json interval_json(const MeanInterval& m) {
  return {{"n", m.n},
          {"left_out", m.left_out},
          {"mean", finite_or_null(m.mean)},
          {"sd", finite_or_null(m.sd)},
          {"low", finite_or_null(m.low())},
          {"high", finite_or_null(m.high())}};
}

json judged_json(const Judged& judged) {
  return {{"loss", interval_json(judged.loss)},
          {"losses", losses_json(judged.losses)},
          {"difference", judged.difference ? interval_json(*judged.difference) : json()}};
}

json words_json(const ComparisonRow& row) {
  return {{"loss", row.own_loss},
          {"setting", row.own_setting},
          {"edge", row.edge},
          {"difference", row.own_difference},
          {"matched_loss", row.matched_loss},
          {"matched_difference", row.matched_difference},
          {"seeds_needed", row.seeds_needed},
          {"runs", row.runs}};
}

const char* edge_word(GridEdge edge) {
  return edge == GridEdge::none ? "none" : edge == GridEdge::low ? "low" : "high";
}

const char* resolution_word(Resolution resolution) {
  switch (resolution) {
    case Resolution::open:
      return "open";
    case Resolution::uncorrected:
      return "uncorrected";
    case Resolution::corrected:
      return "corrected";
    case Resolution::none:
      break;
  }
  return "none";
}

}  // namespace

const json& variant_of(const json& report, const std::string& name) {
  const json& variants = report.at("variants");
  return *std::find_if(variants.begin(), variants.end(), [&](const json& v) { return v.at("name") == name; });
}

json report_json(const Comparison& comparison, const Analysis& analysis) {
  const char* selection = analysis.selection == Selection::tuning_seeds    ? "tuning_seeds"
                          : analysis.selection == Selection::leave_one_out ? "leave_one_out"
                                                                           : "same_seed";
  json out{{"kind", "comparison"},
           {"name", comparison.grid.name},
           {"baseline", comparison.grid.baseline},
           {"settings", analysis.settings.size()},
           {"trunk_steps", comparison.grid.trunk ? comparison.grid.trunk->config.at("steps") : json()},
           {"seeds", comparison.grid.seeds},
           {"tuning_seeds", comparison.grid.tuning_seeds},
           {"selection", selection},
           {"confidence", 0.95},
           {"findings", findings(comparison.grid, analysis)},
           {"ranking", json::array()},
           {"variants", json::array()},
           {"missing", json::array()},
           {"cells", json::array()}};
  const std::vector<ComparisonRow> rows = comparison_rows(analysis);
  for (const VariantResult& v : analysis.variants) {
    json chosen = json::array(), curve = json::array();
    for (const auto& c : v.chosen) chosen.push_back(c ? analysis.settings[*c] : json());
    for (const LrPoint& p : v.curve)
      curve.push_back({{"lr", p.lr},
                       {"setting", analysis.settings[p.setting]},
                       {"label", analysis.labels[p.setting]},
                       {"loss", interval_json(p.loss)},
                       {"diverged", p.diverged},
                       {"missing", p.missing}});
    out["variants"].push_back({{"name", v.name},
                               {"best", v.best ? analysis.settings[*v.best] : json()},
                               {"chosen", chosen},
                               {"edge", edge_word(v.edge)},
                               {"words", words_json(rows[out["variants"].size()])},
                               {"own", judged_json(v.own)},
                               {"matched", judged_json(v.matched)},
                               {"lr_curve", curve},
                               {"runs", v.runs},
                               {"done", v.done},
                               {"diverged", v.diverged},
                               {"missing", v.missing}});
  }
  for (const Ranked& r : ranking(analysis))
    out["ranking"].push_back({{"variant", analysis.variants[r.variant].name},
                              {"holm", r.corrected ? interval_json(*r.corrected) : json()},
                              {"adjusted_p", r.corrected ? json(r.adjusted_p) : json()},
                              {"resolution", resolution_word(r.resolution)}});
  for (const auto& [cell, reason] : analysis.missing) out["missing"].push_back({{"cell", cell}, {"reason", reason}});
  for (size_t i = 0; i < comparison.grid.cells.size(); ++i) {
    const Cell& cell = comparison.grid.cells[i];
    const CellOutcome& outcome = comparison.outcomes[i];
    out["cells"].push_back({{"name", cell.name},
                            {"variant", cell.variant},
                            {"setting", cell.setting},
                            {"seed", cell.seed},
                            {"tuning", cell.tuning},
                            {"hash", cell.hash},
                            {"state", outcome.state == CellOutcome::State::done       ? "done"
                                      : outcome.state == CellOutcome::State::diverged ? "diverged"
                                                                                      : "missing"},
                            {"val_loss", finite_or_null(outcome.loss)}});
  }
  return out;
}

}  // namespace scalevec::experiments
