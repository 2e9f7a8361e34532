#include "scalevec/experiments/figures/run_figure.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "scalevec/experiments/compare/prediction_figures.hpp"
#include "scalevec/experiments/compare/record_files.hpp"

namespace scalevec {

FigureResult draw_over_run(const std::string& figure, const std::filesystem::path& run) {
  std::vector<std::string> pictures;
  if (figure == "T11" || figure == "T12")
    pictures = {"predicted_matrices", "predicted_groups"};
  else if (figure == "T13")
    pictures = {"predicted_ratio"};
  else if (figure == "T5")
    pictures = {"predicted_output"};
  else if (figure == "T14")
    pictures = {"predicted_curvature"};
  else
    throw UsageError("--run: " + figure + " is not drawn over a run; allowed: T5, T11, T12, T13, T14");
  if (!std::filesystem::exists(run / "traces.jsonl") || !std::filesystem::exists(run / "policy.json"))
    throw UsageError("--run: " + run.string() + " holds no traced run (policy.json, traces.jsonl)");
  const std::string label = std::filesystem::weakly_canonical(run).filename().string();
  const PredictionReport report = prediction_report({{label, {run}, {}, 0}}, true);
  for (const std::string& name : pictures) {
    const auto plot =
        std::find_if(report.plots.begin(), report.plots.end(), [&](const Plot& p) { return p.name == name; });
    if (plot == report.plots.end()) continue;
    FigureResult result;
    result.plot = *plot;
    result.plot.title = figure + "  " + plot->title;
    result.required = figure == "T14" ? 0.0 : std::log(1.1);
    result.agreement = figure == "T14" ? -std::numeric_limits<double>::infinity() : 0.0;
    std::string said;
    for (const nlohmann::json& row : report.numbers) {
      if (text_at(row, "picture") != name || text_at(row, "formula").starts_with("T2")) continue;
      const double off = number_at(row, "largest_log_ratio");
      result.agreement = worse(result.agreement, figure == "T14" ? off : std::abs(off));
    }
    for (std::size_t i = 0; i < report.rows.size(); ++i)
      if (text_at(report.numbers[i], "picture") == name && said.size() < 1500)
        said += " " + report.rows[i].of + ", " + report.rows[i].quantity + ": " + report.rows[i].words + ".";
    result.caption = figure + " over the run " + label + ". " + plot->caption + said;
    return result;
  }
  throw UsageError("--run: " + run.string() + " has nothing that " + figure +
                   (figure == "T14" ? " needs; write its curvature with scalevec probe CONFIG --out RUN/probe.json"
                    : figure == "T5"
                        ? " predicts: no output-norm scale under decoupled decay"
                        : " predicts: no traces with predictions (made by an older version, or by a method "
                          "whose step follows the gradient's size)"));
}

}  // namespace scalevec
