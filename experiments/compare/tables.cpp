#include "experiments/compare/tables.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "experiments/compare/ranking.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

std::string of_total(std::int64_t n, std::int64_t total, const char* what) {
  return std::to_string(n) + " of " + std::to_string(total) + " " + what;
}

std::string loss_text(const Judged& judged) {
  if (judged.losses.empty()) return "not run";
  const MeanInterval& m = judged.loss;
  if (m.n == 0)
    return std::any_of(judged.losses.begin(), judged.losses.end(), [](double x) { return std::isinf(x); }) ? "diverged"
                                                                                                           : "missing";
  std::string text = fixed_text(m.mean);
  if (m.left_out) text += " (" + of_total(m.n, m.n + m.left_out, "seeds") + ")";
  return text;
}

std::string difference_text(const std::optional<MeanInterval>& difference) {
  if (!difference) return "baseline";
  const MeanInterval& d = *difference;
  if (d.n == 0) return "no pair";
  const bool wide = d.defined() && d.sd != 0.0;
  std::string text = interval_text(d.mean, wide ? d.low() : kNaN, d.high());
  if (!wide) text += d.defined() ? " (no interval)" : " (one pair: no interval)";
  if (d.left_out) text += " (" + of_total(d.n, d.n + d.left_out, "pairs") + ")";
  return text;
}

std::string setting_text(const Analysis& analysis, const VariantResult& v) {
  if (v.all_diverged) return "all runs diverged";
  if (!v.best) return "none finished";
  std::map<size_t, int> counts;
  for (const auto& setting : v.chosen)
    if (setting) ++counts[*setting];
  const auto label = [&](size_t s) { return analysis.labels[s].empty() ? "as configured" : analysis.labels[s]; };
  if (counts.size() < 2) return label(counts.empty() ? *v.best : counts.begin()->first);
  std::string text;
  for (const auto& [setting, count] : counts)
    text += (text.empty() ? "" : "; ") + label(setting) + " (" + std::to_string(count) +
            (count == 1 ? " seed)" : " seeds)");
  return text;
}

std::string edge_text(const std::vector<AxisEnd>& ends) {
  std::string text;
  for (const AxisEnd& end : ends)
    text += (text.empty() ? "" : ", ") + std::string(end.edge == GridEdge::low ? "lowest " : "highest ") +
            end.key.substr(end.key.find_last_of('.') + 1) + " tried";
  return text;
}

std::string listed(const std::vector<std::string>& words, const char* last = " and ") {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}

std::string selection_text(const Grid& grid, Selection selection) {
  const std::string setting = grid.axes.size() == 1 && grid.axes[0].key == grid.lr_key ? "learning rate" : "setting";
  switch (selection) {
    case Selection::tuning_seeds:
      return "Each variant's " + setting +
             " was chosen on tuning seeds of their own, which the losses below don't use.";
    case Selection::leave_one_out:
      return "For each seed, a variant's " + setting +
             " was chosen on the other seeds (leave-one-out), so that luck in the search doesn't count as merit.";
    case Selection::same_seed:
      return "There is one seed: each " + setting +
             " was chosen on the very run it is judged by, which flatters, and no interval can be given.";
  }
  return "";
}

using Say = std::function<void(std::string)>;

void say_differences(const Analysis& analysis, const Say& say) {
  const std::string& baseline = analysis.variants[analysis.baseline].name;
  const size_t compared = analysis.variants.size() - 1;
  if (compared == 0) return say("There is one variant, so that there is nothing to compare it with.");
  std::vector<std::string> open, unpaired;
  size_t intervals = 0;
  for (const Ranked& r : ranking(analysis)) {
    const VariantResult& v = analysis.variants[r.variant];
    if (!v.own.difference) continue;
    const MeanInterval& d = *v.own.difference;
    intervals += d.defined() && d.sd > 0.0;
    if (d.n == 0) unpaired.push_back(v.name);
    if (r.resolution == Resolution::open) open.push_back(v.name);
    if (r.resolution != Resolution::corrected && r.resolution != Resolution::uncorrected) continue;
    std::string text = v.name + " has " + (d.mean < 0.0 ? "lower" : "higher") + " loss than " + baseline +
                       ", each at its own best setting: " + difference_text(d);
    if (compared > 1)
      text += std::string(r.resolution == Resolution::corrected ? ", also" : ", but not") +
              " after Holm's correction for " + std::to_string(compared) + " comparisons";
    say(text + ".");
  }
  if (open.size() == intervals && intervals > 1)
    say("No variant can be told from " + baseline + ": every 95 % interval includes zero.");
  else if (!open.empty())
    say(listed(open) + " can't be told from " + baseline + ": the 95 % interval" +
        (open.size() == 1 ? " includes zero." : "s include zero."));
  if (!unpaired.empty())
    say("There is no seed at which both " + baseline + " and " + listed(unpaired, " or ") +
        " finished at their own best settings, hence no difference.");
}

void say_power(const Grid& grid, const Analysis& analysis, const Say& say) {
  double least = INFINITY, most = 0.0;
  size_t intervals = 0;
  for (const VariantResult& v : analysis.variants)
    if (v.own.difference && v.own.difference->defined() && v.own.difference->sd > 0.0) {
      ++intervals;
      least = std::min(least, v.own.difference->half_width);
      most = std::max(most, v.own.difference->half_width);
    }
  if (!intervals) return;
  const std::string seeds = std::to_string(grid.seeds.size()) + " seeds";
  say(seeds + " can't show an effect smaller than " +
      (intervals == 1 ? fixed_text(least) : fixed_text(least) + " to " + fixed_text(most) + ", by variant") + ".");
  if (grid.seeds.size() < 10)
    say(seeds + " are few: the deviation that these intervals rest on is itself known only roughly.");
}

}  // namespace

std::vector<ComparisonRow> comparison_rows(const Analysis& analysis) {
  std::vector<ComparisonRow> rows;
  for (const VariantResult& v : analysis.variants) {
    ComparisonRow row{v.name,
                      loss_text(v.own),
                      setting_text(analysis, v),
                      edge_text(v.ends),
                      loss_text(v.matched),
                      difference_text(v.own.difference),
                      v.matched.losses.empty() ? "not run" : difference_text(v.matched.difference),
                      "",
                      ""};
    if (v.own.difference) {
      const auto needed = pairs_needed(v.own.difference->sd, kVisibleEffect);
      row.seeds_needed = needed ? std::to_string(*needed) : "n/a";
    }
    row.runs = std::to_string(v.done + v.diverged) + " of " + std::to_string(v.runs);
    if (v.diverged) row.runs += ", " + std::to_string(v.diverged) + " diverged";
    if (v.missing) row.runs += ", " + std::to_string(v.missing) + " missing";
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::string> findings(const Grid& grid, const Analysis& analysis) {
  std::vector<std::string> out;
  const auto say = [&](std::string text) { out.push_back(std::move(text)); };
  say_differences(analysis, say);
  say_power(grid, analysis, say);
  say(selection_text(grid, analysis.selection));
  for (std::string& text : warnings(grid, analysis)) say(std::move(text));
  return out;
}

std::vector<std::string> warnings(const Grid& grid, const Analysis& analysis) {
  std::vector<std::string> out, edges, diverged, dead, identical, rigid;
  for (const VariantResult& v : analysis.variants) {
    if (v.own.difference && v.own.difference->defined() && v.own.difference->sd == 0.0)
      (v.own.difference->mean == 0.0 ? identical : rigid).push_back(v.name);
    if (!v.ends.empty()) edges.push_back(v.name + " (" + edge_text(v.ends) + ")");
    if (v.all_diverged) dead.push_back(v.name);
    if (v.diverged) diverged.push_back(std::to_string(v.diverged) + " of " + v.name);
  }
  if (!edges.empty())
    out.push_back("Best at the edge of what was tried, so that a better " +
                  std::string(grid.axes.size() == 1 && grid.axes[0].key == grid.lr_key ? "lr" : "setting") +
                  " may lie outside: " + listed(edges) + ".");
  const std::string& baseline = analysis.variants[analysis.baseline].name;
  if (!identical.empty())
    out.push_back("The losses of " + listed(identical) + " are those of " + baseline +
                  ", seed by seed: check that what they differ in reaches these runs.");
  if (!rigid.empty())
    out.push_back("The difference is the same for every seed for " + listed(rigid) +
                  ", so that there is no interval: check that the seed reaches these runs.");
  if (!dead.empty()) out.push_back("All runs of " + listed(dead) + " diverged.");
  if (!diverged.empty())
    out.push_back("Diverged runs: " + listed(diverged) +
                  ". They count as infinite loss where a setting is chosen, and leave their pair out of a difference.");
  if (!analysis.missing.empty())
    out.push_back(std::to_string(analysis.missing.size()) + " of " + std::to_string(grid.cells.size()) +
                  " cells are missing; they are listed below.");
  return out;
}

std::string warnings_text(const Grid& grid, const Analysis& analysis) {
  std::string text;
  for (const std::string& sentence : warnings(grid, analysis)) text += sentence + "\n";
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, analysis.missing.size()); ++i)
    text += "  " + analysis.missing[i].first + ": " + analysis.missing[i].second + "\n";
  if (analysis.missing.size() > kShown) text += "  and " + std::to_string(analysis.missing.size() - kShown) + " more\n";
  return text;
}

}  // namespace scalevec::experiments
