#include "experiments/compare/report.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/compare/report_parts.hpp"
#include "experiments/errors.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/output_files.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/prediction_figures.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What the policies of the groups' first runs say.
json policies(const std::vector<RunGroup>& groups) {
  json out = json::array();
  for (const RunGroup& g : groups)
    if (const auto policy = read_record(g.runs.front() / "policy.json"))
      out.push_back({{"of", g.label},
                     {"words", text_at(*policy, "words", "No description recorded.")},
                     {"groups", array_at(*policy, "groups")}});
  return out;
}

// The pictures of the plots, whose files go into `files`.
std::string pictures(const std::vector<Plot>& plots, const fs::path& files) {
  if (plots.empty()) return "";
  std::string out =
      "<p class=\"sub hint\">Click a name in a key to hide its curves in every picture, again to show them; point at a "
      "curve to read its values.</p>\n<div data-keys>\n";
  for (const Plot& plot : plots) out += drawn(plot, files);
  return out + "</div>\n";
}

// The different values of a key in the runs' summaries, joined: one, if all is well.
std::string values_of(const std::vector<json>& summaries, const char* key) {
  std::set<std::string> values;
  for (const json& s : summaries) {
    const auto it = s.find(key);
    if (it == s.end() || it->is_null()) continue;
    if (!it->is_object()) {
      values.insert(it->is_string() ? it->get<std::string>() : it->dump());
      continue;
    }
    std::vector<std::string> words;
    for (const auto& [name, v] : it->items())
      words.push_back(name + " " + (v.is_string() ? v.get<std::string>() : v.dump()));
    values.insert(joined(words));
  }
  const std::string out = joined({values.begin(), values.end()}, "; ");
  return values.size() > 1 ? out + " (these differ between runs)" : out;
}

// Where and how to make it again: pairs of a title and what is said.
json reproduction(const std::vector<json>& summaries, std::vector<std::pair<std::string, std::string>> items) {
  for (const auto& [key, title] : {std::pair{"git_commit", "Commit"}, std::pair{"versions", "Versions"},
                                   std::pair{"machine", "Machine"}, std::pair{"data_hash", "Data (SHA-256)"}})
    items.emplace_back(title, values_of(summaries, key));
  double seconds = 0.0;
  for (const json& s : summaries) seconds += std::isfinite(number_at(s, "seconds")) ? number_at(s, "seconds") : 0.0;
  items.emplace_back("Computing time",
                     fixed_text(seconds / 60.0, 1) + " minutes over " + std::to_string(summaries.size()) + " runs");
  return items;
}

struct Report {
  json numbers;  // all that the page says
  std::vector<Plot> curves, predictions;
  bool several;  // runs
};

// A report with what is read from the groups' runs.
Report with_groups(json numbers, std::vector<Plot> curves, const std::vector<RunGroup>& groups, bool tensors) {
  PredictionReport predictions = prediction_report(groups, tensors);
  numbers["predictions"] = std::move(predictions.numbers);
  numbers["policies"] = policies(groups);
  return {std::move(numbers), std::move(curves), std::move(predictions.plots), groups.size() > 1};
}

Report comparison_report(const Comparison& comparison, const Analysis& analysis, const std::string& title) {
  const Grid& grid = comparison.grid;
  const std::vector<RunGroup> groups = run_groups(comparison, analysis);
  std::vector<json> summaries;
  for (const Cell& cell : grid.cells)
    if (const auto s = read_record_if_sound(comparison.dir / cell.name / "summary.json")) summaries.push_back(*s);
  json numbers = report_json(comparison, analysis);
  numbers["title"] = title.empty() ? grid.name : title;
  numbers["command"] = text_at(comparison.manifest, "command");
  numbers["reproduction"] =
      reproduction(summaries, {{"Seeds", joined(grid.seeds)}, {"Tuning seeds", joined(grid.tuning_seeds)}});
  std::vector<Plot> plots = comparison_figures(comparison, analysis, groups);
  for (Plot& plot : run_figures(groups)) plots.push_back(std::move(plot));
  return with_groups(std::move(numbers), std::move(plots), groups, false);
}

Report run_report(const std::vector<fs::path>& dirs, const std::string& title) {
  std::vector<RunGroup> groups;
  std::vector<json> summaries;
  json numbers{{"kind", "runs"}, {"runs", json::array()}};
  for (const fs::path& dir : dirs) {
    if (!fs::exists(dir / "summary.json") && !fs::exists(dir / "metrics.jsonl"))
      throw UsageError(dir.string() +
                       ": holds neither a comparison (compare.json) nor a run (summary.json, metrics.jsonl)");
    const std::string label =
        dirs.size() > 1 ? dir.lexically_normal().string() : fs::weakly_canonical(dir).filename().string();
    groups.push_back({label, {dir}, {}, static_cast<int>(groups.size())});
    const json s = read_record(dir / "summary.json").value_or(json::object());
    if (const std::string damage = damage_of_run(dir, s); !damage.empty()) throw RunError((dir / damage).string());
    summaries.push_back(s);
    numbers["runs"].push_back({{"dir", dir.string()}, {"label", label}, {"summary", s}});
  }
  numbers["title"] = title.empty() ? (dirs.size() > 1 ? "Runs" : groups[0].label) : title;
  numbers["reproduction"] = reproduction(summaries, {{"Seed", values_of(summaries, "seed")}});
  return with_groups(std::move(numbers), run_figures(groups), groups, dirs.size() <= 3);
}

// The folder of the pictures of a page, after a check that all of it can be written.
fs::path files_beside(const fs::path& out) {
  const fs::path numbers = fs::path(out).replace_extension(".json");
  if (numbers == out)
    throw UsageError("--out: " + out.string() + " is the name of the numbers beside the page; allowed: NAME.html");
  std::error_code error;
  if (out.has_parent_path()) fs::create_directories(out.parent_path(), error);
  if (error) throw UsageError(out.parent_path().string() + ": cannot be made: " + error.message());
  check_output_file(out, "--out", page_kind());
  check_output_file(numbers, "--out: the numbers beside the page", {"report", [](std::string_view text) {
                                                                      const json before = parse_json_if_sound(text);
                                                                      const std::string kind = text_at(before, "kind");
                                                                      return kind == "comparison" || kind == "runs";
                                                                    }});
  return out.parent_path() / (out.stem().string() + "_files");
}

void write(const Report& report, const fs::path& files, const fs::path& out) {
  const ReportPictures drawn{pictures(report.curves, files), pictures(report.predictions, files),
                             files.filename().string(), report.several};
  write_file(fs::path(out).replace_extension(".json"),
             report.numbers.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  write_file(out, report_page(report.numbers, drawn));
}

}  // namespace

void write_report(const Comparison& comparison, const Analysis& analysis, const fs::path& out,
                  const std::string& title) {
  const fs::path files = files_beside(out);
  write(comparison_report(comparison, analysis, title), files, out);
}

void write_report(const std::vector<fs::path>& dirs, const fs::path& out, const std::string& title) {
  const bool compares =
      std::any_of(dirs.begin(), dirs.end(), [](const fs::path& d) { return fs::exists(d / "compare.json"); });
  if (dirs.empty()) throw UsageError("report: no folder given");
  if (compares && dirs.size() > 1)
    throw UsageError("report: one comparison's folder, or run folders; not both or several");
  const fs::path files = files_beside(out);
  if (!compares) return write(run_report(dirs, title), files, out);
  const Comparison comparison = load_comparison(dirs[0]);
  write_report(comparison, analyse(comparison), out, title);
}

}  // namespace scalevec::experiments
