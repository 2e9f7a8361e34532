#include "experiments/compare/report.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/compare/ranking.hpp"
#include "experiments/compare/report_parts.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/errors.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/prediction_figures.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using html::escape;
using nlohmann::json;

std::string comparison_table(const Analysis& analysis) {
  std::vector<std::vector<std::string>> rows;
  const auto difference = [](const std::string& text, const std::optional<MeanInterval>& d) {
    const std::string number = d ? html::number(text) : escape(text);
    return d && d->excludes_zero() ? "<span class=\"clear\">" + number + "</span>" : number;
  };
  const std::vector<ComparisonRow> texts = comparison_rows(analysis);
  for (const Ranked& ranked : ranking(analysis)) {
    const ComparisonRow& r = texts[ranked.variant];
    const VariantResult& v = analysis.variants[ranked.variant];
    std::string own = escape(r.own_loss);
    if (v.own.loss.defined()) own += "<br><span class=\"sub\">sd " + fixed_text(v.own.loss.sd) + "</span>";
    std::string setting = escape(r.own_setting);
    if (!r.edge.empty()) setting += "<br><span class=\"mark\">" + escape(r.edge) + "</span>";
    rows.push_back({"<strong>" + escape(r.variant) + "</strong>", setting, escape(r.runs), own,
                    difference(r.own_difference, v.own.difference), escape(r.matched_loss),
                    difference(r.matched_difference, v.matched.difference), escape(r.seeds_needed)});
  }
  return html::table({"Variant", "Own best setting", "Runs finished", "Loss at<br>own best",
                      "Difference at own best<br>[95 % interval]", "Loss at<br>matched",
                      "Difference at matched<br>[95 % interval]", "Seeds to<br>see " + short_number(kVisibleEffect)},
                     rows, 3);
}

std::string lr_table(const Analysis& analysis) {
  std::vector<std::vector<std::string>> rows;
  for (const VariantResult& v : analysis.variants)
    for (const LrPoint& p : v.curve)
      rows.push_back({escape(v.name), escape(analysis.labels[p.setting]), html::number(fixed_text(p.loss.mean)),
                      html::number(fixed_text(p.loss.sd)), std::to_string(p.loss.n), std::to_string(p.diverged),
                      std::to_string(p.missing)});
  if (rows.empty()) return "";
  return html::details("Loss at every learning rate, as numbers",
                       html::table({"Variant", "Setting", "Loss", "sd", "Seeds", "Diverged", "Missing"}, rows, 2));
}

std::string policies(const std::vector<RunGroup>& groups) {
  std::vector<std::pair<std::string, std::string>> items;
  for (const RunGroup& g : groups) {
    const auto policy = read_record(g.runs.front() / "policy.json");
    if (!policy) continue;
    std::string said = escape(text_at(*policy, "words", "No description recorded.")) + "\n";
    std::vector<std::vector<std::string>> rows;
    for (const json& row : array_at(*policy, "groups"))
      rows.push_back({escape(text_at(row, "group")), escape(text_at(row, "method")),
                      short_number(number_at(row, "tensors")), fixed_text(number_at(row, "count"), 0),
                      short_number(number_at(row, "lr")), short_number(number_at(row, "weight_decay"))});
    if (!rows.empty())
      said += html::details(
          "Parameter groups",
          html::table({"Group", "Method", "Tensors", "Parameters", "Learning rate", "Weight decay"}, rows, 2));
    items.emplace_back(g.label, said);
  }
  return items.empty() ? "" : html::details("Optimizer policies", html::terms(items, "policies"));
}

// The pictures of the plots, whose files go into `files`.
std::string pictures(const std::vector<Plot>& plots, const fs::path& files) {
  if (plots.empty()) return "<p>The runs have recorded nothing to draw.</p>\n";
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

// Pictures and sentences of theory against runs; empty where no run has predictions.
std::string predictions(const std::vector<RunGroup>& groups, bool tensors, const fs::path& files, json& numbers) {
  const PredictionReport report = prediction_report(groups, tensors);
  numbers["predictions"] = report.numbers;
  if (report.plots.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const PredictionReport::Row& r : report.rows) {
    rows.push_back({escape(r.of), escape(r.quantity), escape(r.formula), escape(r.words)});
    if (groups.size() > 1) rows.back().insert(rows.back().begin(), escape(r.run));
  }
  std::vector<std::string> head{"Of", "Quantity", "Formula", "Run against theory"};
  if (groups.size() > 1) head.insert(head.begin(), "Run");
  return "<h2>Theory over the run</h2>\n" + pictures(report.plots, files) +
         html::details("Where theory and run part, from which step on, and by how much",
                       html::table(head, rows, head.size()), true);
}

std::string reproduction(const std::vector<json>& summaries, std::vector<std::pair<std::string, std::string>> items,
                         const std::string& command, const fs::path& files) {
  for (const auto& [key, title] : {std::pair{"git_commit", "Commit"}, std::pair{"versions", "Versions"},
                                   std::pair{"machine", "Machine"}, std::pair{"data_hash", "Data (SHA-256)"}})
    items.emplace_back(title, values_of(summaries, key));
  double seconds = 0.0;
  for (const json& s : summaries) seconds += std::isfinite(number_at(s, "seconds")) ? number_at(s, "seconds") : 0.0;
  items.emplace_back("Computing time",
                     fixed_text(seconds / 60.0, 1) + " minutes over " + std::to_string(summaries.size()) + " runs");
  std::string out = "<h2>Reproduction</h2>\n";
  if (!command.empty()) out += "<pre>" + escape(command) + "</pre>\n";
  for (auto& [title, text] : items) text = escape(text);
  return out + html::terms(items) + "<p>" + escape(files.filename().string()) +
         "/ holds the data of each picture (.csv) and the gnuplot script that draws it (.gp)" +
         (have_gnuplot() ? ", as PNG and SVG too" : "; gnuplot was not found, so that it is not drawn there") +
         ". Every run's folder holds its resolved configuration and policy.</p>\n";
}

struct Report {
  std::string title, body;
  json numbers;
};

Report comparison_report(const Comparison& comparison, const Analysis& analysis, const fs::path& files,
                         const std::string& title) {
  const Grid& grid = comparison.grid;
  const std::vector<RunGroup> groups = run_groups(comparison, analysis);
  std::vector<json> summaries;
  for (const Cell& cell : grid.cells)
    if (const auto s = read_record_if_sound(comparison.dir / cell.name / "summary.json")) summaries.push_back(*s);

  Report report{title.empty() ? grid.name : title, "", report_json(comparison, analysis)};
  report.body = "<h1>" + escape(report.title) + "</h1>\n<p class=\"meta\">" + std::to_string(grid.variants.size()) +
                " variants, " + std::to_string(analysis.settings.size()) +
                (analysis.settings.size() == 1 ? " setting, " : " settings each, ") +
                std::to_string(grid.seeds.size()) + (grid.seeds.size() == 1 ? " seed" : " seeds") +
                ". Baseline: " + escape(grid.baseline) + "." +
                (grid.trunk ? " The runs go on from one trunk of " + grid.trunk->config.at("steps").dump() +
                                  " steps, so that their intervals say nothing of another trunk."
                            : "") +
                "</p>\n" + forest_figure(analysis);
  std::vector<std::string> found = findings(grid, analysis), missing;
  for (std::string& sentence : found) sentence = html::number(sentence);
  report.body +=
      html::list(found, "findings") + "<h2>Every variant in numbers</h2>\n" + comparison_table(analysis) +
      "<p class=\"sub\">Losses are final validation losses, means over seeds. A difference is variant minus " +
      escape(grid.baseline) +
      ", paired over seeds, with its 95 % Student-t interval, not corrected for there being several; below zero is "
      "better, and bold excludes zero. <em>Own best</em>: each variant at the setting chosen for it. <em>Matched</em>: "
      "every variant at the setting chosen for " +
      escape(grid.baseline) + ". The last column is how many seeds an interval of &plusmn;" +
      short_number(kVisibleEffect) + " would take at the spread seen here.</p>\n";
  for (const auto& [cell, reason] : analysis.missing)
    missing.push_back("<code>" + escape(cell) + "</code>: " + escape(reason));
  if (!missing.empty()) report.body += "<h3>Missing cells</h3>\n" + html::list(missing);
  std::vector<Plot> plots = comparison_figures(comparison, analysis, groups);
  for (Plot& plot : run_figures(groups)) plots.push_back(std::move(plot));
  report.body += "<h2>Curves</h2>\n" + pictures(plots, files) + lr_table(analysis) +
                 predictions(groups, false, files, report.numbers) + policies(groups);
  const std::string seeds = joined(grid.seeds), tuning = joined(grid.tuning_seeds);
  report.body += reproduction(summaries, {{"Seeds", seeds}, {"Tuning seeds", tuning}},
                              text_at(comparison.manifest, "command"), files);
  return report;
}

Report run_report(const std::vector<fs::path>& dirs, const fs::path& files, const std::string& title) {
  std::vector<RunGroup> groups;
  std::vector<json> summaries;
  std::vector<std::vector<std::string>> rows;
  json numbers{{"kind", "runs"}, {"runs", json::array()}};
  for (const fs::path& dir : dirs) {
    if (!fs::exists(dir / "summary.json") && !fs::exists(dir / "metrics.jsonl"))
      throw UsageError(dir.string() +
                       ": holds neither a comparison (compare.json) nor a run (summary.json, metrics.jsonl)");
    const std::string label =
        dirs.size() > 1 ? dir.lexically_normal().string() : fs::weakly_canonical(dir).filename().string();
    groups.push_back({label, {dir}, {}, static_cast<int>(groups.size())});
    const json s = read_record(dir / "summary.json").value_or(json::object());
    if (text_at(s, "status") == "done" || text_at(s, "status") == "diverged")
      if (const std::string damage = damage_of_run(dir, s); !damage.empty()) throw RunError((dir / damage).string());
    summaries.push_back(s);
    std::string status = escape(text_at(s, "status", "unfinished"));
    if (const std::string reason = text_at(s, "reason"); !reason.empty())
      status += "<br><span class=\"sub\">" + escape(reason) + "</span>";
    rows.push_back({"<strong>" + escape(label) + "</strong>", status, fixed_text(number_at(s, "val_loss")),
                    fixed_text(number_at(s, "best_val_loss")), fixed_text(number_at(s, "train_loss")),
                    fixed_text(number_at(s, "steps"), 0), fixed_text(number_at(s, "tokens"), 0),
                    fixed_text(number_at(s, "tokens_per_second"), 0), fixed_text(number_at(s, "parameters"), 0),
                    fixed_text(number_at(s, "scale_parameters"), 0)});
    numbers["runs"].push_back({{"dir", dir.string()}, {"summary", s}});
  }
  Report report{title.empty() ? (dirs.size() > 1 ? "Runs" : groups[0].label) : title, "", numbers};
  report.body = "<h1>" + escape(report.title) + "</h1>\n<h2>Result</h2>\n" +
                html::table({"Run", "Status", "Validation<br>loss", "Best", "Training<br>loss", "Steps", "Tokens",
                             "Tokens<br>per second", "Parameters", "of which<br>scales"},
                            rows, 2);
  if (dirs.size() > 1)
    report.body +=
        "<p class=\"sub\">Single runs side by side show no spread between seeds: for a difference with an "
        "interval use scalevec compare.</p>\n";
  report.body += "<h2>Curves</h2>\n" + pictures(run_figures(groups), files) +
                 predictions(groups, dirs.size() <= 3, files, report.numbers) + policies(groups);
  report.body += reproduction(summaries, {{"Seed", values_of(summaries, "seed")}}, "", files);
  return report;
}

// The folder of the pictures of a page, after a check that all of it can be written.
fs::path files_beside(const fs::path& out) {
  const fs::path numbers = fs::path(out).replace_extension(".json");
  if (numbers == out)
    throw UsageError("--out: " + out.string() + " is the name of the numbers beside the page; allowed: NAME.html");
  check_output_file(out, "--out");
  check_output_file(numbers, "--out: the numbers beside the page");
  std::error_code error;
  if (out.has_parent_path()) fs::create_directories(out.parent_path(), error);
  if (error) throw UsageError(out.parent_path().string() + ": cannot be made: " + error.message());
  return out.parent_path() / (out.stem().string() + "_files");
}

void write(const Report& report, const fs::path& out) {
  write_file(fs::path(out).replace_extension(".json"),
             report.numbers.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  write_file(out, html::page(report.title, report.body));
}

}  // namespace

void write_report(const Comparison& comparison, const Analysis& analysis, const fs::path& out,
                  const std::string& title) {
  const fs::path files = files_beside(out);
  write(comparison_report(comparison, analysis, files, title), out);
}

void write_report(const std::vector<fs::path>& dirs, const fs::path& out, const std::string& title) {
  const bool compares =
      std::any_of(dirs.begin(), dirs.end(), [](const fs::path& d) { return fs::exists(d / "compare.json"); });
  if (dirs.empty()) throw UsageError("report: no folder given");
  if (compares && dirs.size() > 1)
    throw UsageError("report: one comparison's folder, or run folders; not both or several");
  const fs::path files = files_beside(out);
  if (!compares) return write(run_report(dirs, files, title), out);
  const Comparison comparison = load_comparison(dirs[0]);
  write_report(comparison, analyse(comparison), out, title);
}

}  // namespace scalevec::experiments
