#include <algorithm>
#include <utility>

#include "experiments/compare/report_parts.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/plot.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;
using nlohmann::json;

std::string escaped(const json& object, const char* key) { return escape(text_at(object, key)); }

bool excludes_zero(const json& difference) {
  return !difference.is_null() && (number_at(difference, "low") > 0.0 || number_at(difference, "high") < 0.0);
}

std::string comparison_table(const json& report) {
  std::vector<std::vector<std::string>> rows;
  for (const json& ranked : report.at("ranking")) {
    const json& v = variant_of(report, text_at(ranked, "variant"));
    const json &words = v.at("words"), &loss = v.at("own").at("loss");
    const auto difference = [&](const char* text, const char* which) {
      const json& d = v.at(which).at("difference");
      const std::string number = d.is_null() ? escaped(words, text) : html::number(text_at(words, text));
      return excludes_zero(d) ? "<span class=\"clear\">" + number + "</span>" : number;
    };
    std::string own = escaped(words, "loss"), setting = escaped(words, "setting");
    if (loss.at("n") > 1) own += "<br><span class=\"sub\">sd " + fixed_text(number_at(loss, "sd")) + "</span>";
    if (const std::string edge = escaped(words, "edge"); !edge.empty())
      setting += "<br><span class=\"mark\">" + edge + "</span>";
    rows.push_back({"<strong>" + escaped(v, "name") + "</strong>", setting, escaped(words, "runs"), own,
                    difference("difference", "own"), escaped(words, "matched_loss"),
                    difference("matched_difference", "matched"), escaped(words, "seeds_needed")});
  }
  return html::table({"Variant", "Own best setting", "Runs finished", "Loss at<br>own best",
                      "Difference at own best<br>[95 % interval]", "Loss at<br>matched",
                      "Difference at matched<br>[95 % interval]", "Seeds to<br>see " + short_number(kVisibleEffect)},
                     rows, 3);
}

std::string lr_table(const json& report) {
  std::vector<std::vector<std::string>> rows;
  for (const json& v : report.at("variants"))
    for (const json& p : v.at("lr_curve")) {
      const json& loss = p.at("loss");
      rows.push_back({escaped(v, "name"), escaped(p, "label"), html::number(fixed_text(number_at(loss, "mean"))),
                      html::number(fixed_text(number_at(loss, "sd"))), loss.at("n").dump(), p.at("diverged").dump(),
                      p.at("missing").dump()});
    }
  if (rows.empty()) return "";
  return html::details("Loss at every learning rate, as numbers",
                       html::table({"Variant", "Setting", "Loss", "sd", "Seeds", "Diverged", "Missing"}, rows, 2));
}

std::string policies(const json& report) {
  std::vector<std::pair<std::string, std::string>> items;
  for (const json& policy : report.at("policies")) {
    std::string said = escaped(policy, "words") + "\n";
    std::vector<std::vector<std::string>> rows;
    for (const json& row : policy.at("groups"))
      rows.push_back({escaped(row, "group"), escaped(row, "method"), short_number(number_at(row, "tensors")),
                      fixed_text(number_at(row, "count"), 0), short_number(number_at(row, "lr")),
                      short_number(number_at(row, "weight_decay"))});
    if (!rows.empty())
      said += html::details(
          "Parameter groups",
          html::table({"Group", "Method", "Tensors", "Parameters", "Learning rate", "Weight decay"}, rows, 2));
    items.emplace_back(text_at(policy, "of"), said);
  }
  return items.empty() ? "" : html::details("Optimizer policies", html::terms(items, "policies"));
}

// Pictures and sentences of theory against runs; empty where no run has predictions. `several` runs are named.
std::string predictions(const json& report, const std::string& drawn, bool several) {
  if (drawn.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const json& r : report.at("predictions")) {
    rows.push_back({escaped(r, "of"), escaped(r, "quantity"), escaped(r, "formula"), escaped(r, "words")});
    if (several) rows.back().insert(rows.back().begin(), escaped(r, "run"));
  }
  std::vector<std::string> head{"Of", "Quantity", "Formula", "Run against theory"};
  if (several) head.insert(head.begin(), "Run");
  return "<h2>Theory over the run</h2>\n" + drawn +
         html::details("Where theory and run part, from which step on, and by how much",
                       html::table(head, rows, head.size()), true);
}

std::string reproduction(const json& report, const std::string& folder) {
  std::vector<std::pair<std::string, std::string>> items;
  for (const json& item : report.at("reproduction"))
    items.emplace_back(item.at(0), escape(item.at(1).get<std::string>()));
  const std::string command = escaped(report, "command");
  return "<h2>Reproduction</h2>\n" + (command.empty() ? "" : "<pre>" + command + "</pre>\n") + html::terms(items) +
         "<p>" + escape(folder) + "/ holds the data of each picture (.csv) and the gnuplot script that draws it (.gp)" +
         (have_gnuplot() ? ", as PNG and SVG too" : "; gnuplot was not found, so that it is not drawn there") +
         ". Every run's folder holds its resolved configuration and policy.</p>\n";
}

std::string counted(const json& number, const char* one, const char* several) {
  return number.dump() + (number == 1 ? one : several);
}

// What a comparison answers, before its pictures.
std::string answer(const json& report) {
  const std::string baseline = escaped(report, "baseline");
  const json& trunk = report.at("trunk_steps");
  std::string out = "<p class=\"meta\">" + std::to_string(report.at("variants").size()) + " variants, " +
                    counted(report.at("settings"), " setting, ", " settings each, ") +
                    counted(report.at("seeds").size(), " seed", " seeds") + ". Baseline: " + baseline + "." +
                    (trunk.is_null() ? ""
                                     : " The runs go on from one trunk of " + trunk.dump() +
                                           " steps, so that their intervals say nothing of another trunk.") +
                    "</p>\n" + forest_figure(report);
  std::vector<std::string> found, missing;
  for (const json& sentence : report.at("findings")) found.push_back(html::number(sentence.get<std::string>()));
  for (const json& cell : report.at("missing"))
    missing.push_back("<code>" + escaped(cell, "cell") + "</code>: " + escaped(cell, "reason"));
  out += html::list(found, "findings") + "<h2>Every variant in numbers</h2>\n" + comparison_table(report) +
         "<p class=\"sub\">Losses are final validation losses, means over seeds. A difference is variant minus " +
         baseline +
         ", paired over seeds, with its 95 % Student-t interval, not corrected for there being several; below zero is "
         "better, and bold excludes zero. <em>Own best</em>: each variant at the setting chosen for it. "
         "<em>Matched</em>: every variant at the setting chosen for " +
         baseline + ". The last column is how many seeds an interval of &plusmn;" + short_number(kVisibleEffect) +
         " would take at the spread seen here.</p>\n";
  return missing.empty() ? out : out + "<h3>Missing cells</h3>\n" + html::list(missing);
}

std::string run_table(const json& report) {
  std::vector<std::vector<std::string>> rows;
  for (const json& run : report.at("runs")) {
    const json& s = run.at("summary");
    std::string status = escape(text_at(s, "status", "unfinished"));
    if (const std::string reason = escaped(s, "reason"); !reason.empty())
      status += "<br><span class=\"sub\">" + reason + "</span>";
    rows.push_back({"<strong>" + escaped(run, "label") + "</strong>", status});
    for (const char* loss : {"val_loss", "best_val_loss", "train_loss"})
      rows.back().push_back(fixed_text(number_at(s, loss)));
    for (const char* count : {"steps", "tokens", "tokens_per_second", "parameters", "scale_parameters"})
      rows.back().push_back(fixed_text(number_at(s, count), 0));
  }
  return "<h2>Result</h2>\n" +
         html::table({"Run", "Status", "Validation<br>loss", "Best", "Training<br>loss", "Steps", "Tokens",
                      "Tokens<br>per second", "Parameters", "of which<br>scales"},
                     rows, 2) +
         (rows.size() > 1 ? "<p class=\"sub\">Single runs side by side show no spread between seeds: for a difference "
                            "with an interval use scalevec compare.</p>\n"
                          : "");
}

}  // namespace

std::string report_page(const json& report, const ReportPictures& pictures) {
  const bool compares = report.at("kind") == "comparison";
  const std::string title = text_at(report, "title");
  const std::string curves =
      pictures.curves.empty() ? "<p>The runs have recorded nothing to draw.</p>\n" : pictures.curves;
  return html::page(title, "<h1>" + escape(title) + "</h1>\n" + (compares ? answer(report) : run_table(report)) +
                               "<h2>Curves</h2>\n" + curves + (compares ? lr_table(report) : "") +
                               predictions(report, pictures.predictions, pictures.several) + policies(report) +
                               reproduction(report, pictures.folder));
}

}  // namespace scalevec::experiments
