#include "experiments/figures/run_figure.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/prediction_figures.hpp"

namespace scalevec::experiments {

using nlohmann::json;

namespace {

void check_traced(const std::filesystem::path& run) {
  if (!std::filesystem::exists(run / "traces.jsonl") || !std::filesystem::exists(run / "policy.json"))
    throw UsageError("--run: " + run.string() + " holds no traced run (policy.json, traces.jsonl)");
  const std::string damage = damage_of_run(run, read_record(run / "summary.json").value_or(json::object()));
  if (!damage.empty()) throw RunError((run / damage).string());
}

// By the summary, or by the log where that goes on after it: of a run that was resumed, or was killed.
std::string extent_of_run(const std::filesystem::path& run) {
  const json summary = read_record(run / "summary.json").value_or(json::object());
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const std::vector<json> lines = read_json_lines(run / "metrics.jsonl");
  std::string status = text_at(summary, "status", "unfinished");
  double steps = number_at(summary, "steps");
  if (const double logged = lines.empty() ? 0.0 : number_at(lines.back(), "step"); !(logged <= steps)) {
    steps = logged;
    status = "unfinished";
  }
  const double planned = number_at(config, "steps");
  return fmt::format("{} after step {:.0f}", status, steps) +
         (std::isfinite(planned) ? fmt::format(" of {}", static_cast<std::int64_t>(planned)) : "");
}

}  // namespace

std::string steps_of_run(const std::filesystem::path& run) {
  check_traced(run);
  return "run: " + run.string() + ", " + extent_of_run(run);
}

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
  check_traced(run);
  const json policy = read_record(run / "policy.json").value_or(json::object());
  const json rows = policy.value("rows", json::array());
  if (figure == "T12" &&
      std::none_of(rows.begin(), rows.end(), [](const json& row) { return text_at(row, "method") == "muon"; }))
    throw UsageError("--run: " + run.string() +
                     " trains nothing by Muon, whose updates T12 is about; T11 is the same for its methods");
  const std::string label = std::filesystem::weakly_canonical(run).filename().string();
  const PredictionReport report = prediction_report({{label, {run}, {}, 0}}, true);
  for (const std::string& name : pictures) {
    const auto plot =
        std::find_if(report.plots.begin(), report.plots.end(), [&](const Plot& p) { return p.name == name; });
    if (plot == report.plots.end()) continue;
    FigureResult result;
    result.plot = *plot;
    result.plot.name = figure;
    result.plot.title = figure + "  " + plot->title;
    result.required = figure == "T14" ? 1.0 : 1.1;
    result.agreement = figure == "T14" ? 0.0 : 1.0;
    std::string said;
    for (const json& row : report.numbers) {
      if (text_at(row, "picture") != name || text_at(row, "formula").starts_with("T2")) continue;
      const double off = number_at(row, "largest_log_ratio");
      result.agreement = larger_or_nan(result.agreement, std::exp(figure == "T14" ? off : std::abs(off)));
    }
    for (const json& row : report.numbers)
      if (text_at(row, "picture") == name && said.size() < 1500)
        said += " " + text_at(row, "of") + ", " + text_at(row, "quantity") + ": " + text_at(row, "words") + ".";
    result.plot.caption = figure + " over the run " + label + " (" + extent_of_run(run) + "). " + plot->caption + said;
    return result;
  }
  throw UsageError("--run: " + run.string() + " has nothing that " + figure +
                   (figure == "T14" ? " needs; write its curvature with scalevec probe CONFIG --out RUN/probe.json"
                    : figure == "T5"
                        ? " predicts: no output-norm scale under decoupled decay"
                        : " predicts: no traces with predictions (made by an older version, or by a method "
                          "whose step follows the gradient's size)"));
}

}  // namespace scalevec::experiments
