#include "experiments/compare/analysis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "experiments/compare/search.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/record/run_lock.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

constexpr double kInf = std::numeric_limits<double>::infinity();

// Losses by variant, setting and seed.
class Losses {
 public:
  Losses(const Comparison& comparison, const std::vector<json>& settings) {
    for (size_t i = 0; i < comparison.grid.cells.size(); ++i) {
      const Cell& cell = comparison.grid.cells[i];
      const auto setting = std::find(settings.begin(), settings.end(), cell.setting) - settings.begin();
      losses_[{cell.variant, static_cast<size_t>(setting), cell.seed}] = comparison.outcomes[i].loss;
    }
  }

  double at(const std::string& variant, std::optional<size_t> setting, std::int64_t seed) const {
    if (!setting) return kNaN;
    const auto it = losses_.find({variant, *setting, seed});
    return it == losses_.end() ? kNaN : it->second;
  }

  std::vector<double> of(const std::string& variant, size_t setting, const std::vector<std::int64_t>& seeds) const {
    std::vector<double> out;
    for (const std::int64_t seed : seeds) out.push_back(at(variant, setting, seed));
    return out;
  }

  std::optional<size_t> best(const std::string& variant, const std::vector<size_t>& candidates,
                             const std::vector<std::int64_t>& seeds) const {
    std::vector<std::vector<double>> losses;
    for (const size_t setting : candidates) losses.push_back(of(variant, setting, seeds));
    const auto best = best_setting(losses);
    return best ? std::optional(candidates[*best]) : std::nullopt;
  }

  // Whether a run of the setting on `seeds` diverged.
  bool diverged(const std::string& variant, size_t setting, const std::vector<std::int64_t>& seeds) const {
    return lr_point(0.0, of(variant, setting, seeds)).diverged > 0;
  }

 private:
  std::map<std::tuple<std::string, size_t, std::int64_t>, double> losses_;
};

std::vector<std::int64_t> without(std::vector<std::int64_t> seeds, std::int64_t seed) {
  std::erase(seeds, seed);
  return seeds;
}

std::vector<double> sorted_lrs(const Grid& grid) {
  std::vector<double> lrs;
  for (const GridAxis& axis : grid.axes)
    if (axis.key == grid.lr_key)
      for (const json& v : axis.values) lrs.push_back(v.get<double>());
  std::sort(lrs.begin(), lrs.end());
  return lrs;
}

// `candidates` in order of weight: the first that lies at an end decides.
std::vector<AxisEnd> ends_of(const std::vector<size_t>& candidates, const Grid& grid,
                             const std::vector<json>& settings) {
  std::vector<AxisEnd> ends;
  for (const GridAxis& axis : grid.axes) {
    const bool numbers =
        std::all_of(axis.values.begin(), axis.values.end(), [](const json& v) { return v.is_number(); });
    if (!numbers || axis.values.size() < 2) continue;
    double low = kInf, high = -kInf;
    for (const json& v : axis.values) {
      low = std::min(low, v.get<double>());
      high = std::max(high, v.get<double>());
    }
    for (const size_t setting : candidates) {
      const double x = settings[setting].at(axis.key).get<double>();
      if (x != low && x != high) continue;
      ends.push_back({axis.key, x == low ? GridEdge::low : GridEdge::high});
      break;
    }
  }
  return ends;
}

// The same lr and alternative of another variant, whose alternative has a name of its own.
std::optional<size_t> counterpart(const json& setting, const std::string& variant, const Grid& grid,
                                  const std::vector<json>& settings) {
  for (const Cell& cell : grid.cells)
    if (cell.variant == variant && cell.setting.at(grid.lr_key) == setting.at(grid.lr_key) &&
        cell.setting.contains(kAlternative) == setting.contains(kAlternative))
      return static_cast<size_t>(std::find(settings.begin(), settings.end(), cell.setting) - settings.begin());
  return std::nullopt;
}

// A search ends inside its axis: the end of what it tried is what counts.
std::vector<AxisEnd> ends_of_search(const VariantResult& v, const Grid& grid, const std::vector<json>& settings) {
  if (!v.best || v.curve.size() < 2) return {};
  const double lr = settings[*v.best].at(grid.lr_key).get<double>();
  if (lr == v.curve.front().lr) return {{grid.lr_key, GridEdge::low}};
  if (lr == v.curve.back().lr) return {{grid.lr_key, GridEdge::high}};
  return {};
}

Judged judge(const Losses& losses, const std::string& variant, const std::vector<std::optional<size_t>>& chosen,
             const std::vector<std::int64_t>& seeds) {
  Judged judged;
  for (size_t i = 0; i < seeds.size(); ++i) judged.losses.push_back(losses.at(variant, chosen[i], seeds[i]));
  judged.loss = mean_interval(judged.losses);
  return judged;
}

std::vector<LrPoint> lr_curve(const Losses& losses, const std::string& variant, const Grid& grid,
                              const std::vector<json>& settings) {
  std::vector<LrPoint> curve;
  const std::vector<std::int64_t>& seeds = grid.search ? grid.tuning_seeds : grid.seeds;
  for (const double lr : sorted_lrs(grid)) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < settings.size(); ++i)
      if (settings[i].at(grid.lr_key).get<double>() == lr) candidates.push_back(i);
    if (candidates.empty()) continue;
    const auto best = losses.best(variant, candidates, seeds);
    if (grid.search && !best) continue;
    const size_t setting = best.value_or(candidates.front());
    curve.push_back(lr_point(lr, losses.of(variant, setting, seeds), setting));
  }
  return curve;
}

CellOutcome missing(std::string reason) { return {CellOutcome::State::missing, kNaN, std::move(reason), ""}; }

}  // namespace

LrPoint lr_point(double lr, std::vector<double> losses, size_t setting) {
  LrPoint point{lr, setting, std::move(losses), {}};
  point.loss = mean_interval(point.losses);
  for (const double loss : point.losses) {
    point.diverged += std::isinf(loss);
    point.missing += std::isnan(loss);
  }
  return point;
}

std::optional<size_t> best_setting(const std::vector<std::vector<double>>& losses) {
  std::optional<size_t> best;
  std::tuple<bool, size_t, double> least;
  for (size_t i = 0; i < losses.size(); ++i) {
    const LrPoint point = lr_point(0.0, losses[i]);
    if (point.missing == losses[i].size()) continue;
    const std::tuple rank(point.diverged > 0, point.missing, point.diverged ? 0.0 : point.loss.mean);
    if (best && !(rank < least)) continue;
    best = i;
    least = rank;
  }
  return best;
}

CellOutcome read_outcome(const std::filesystem::path& folder) {
  using State = CellOutcome::State;
  if (!std::filesystem::exists(folder)) return missing("not started");
  json summary;
  try {
    summary = read_record(folder / "summary.json").value_or(json::object());
  } catch (const RunError& e) {
    return missing(e.what());
  }
  const std::string status = text_at(summary, "status"), reason = text_at(summary, "reason");
  const double loss = number_at(summary, "val_loss");
  const std::string data = text_at(summary, "data_hash");
  if (status == "diverged") return {State::diverged, kInf, reason.empty() ? "no reason given" : reason, data};
  if (status == "done" && std::isfinite(loss)) return {State::done, loss, "", data};
  // JSON has no number that is not finite: it is written as null.
  if (status == "done" && summary.contains("val_loss") && summary["val_loss"].is_null())
    return {State::diverged, kInf, "the validation loss is not finite", data};
  if (status == "done") return missing("done, but its summary has no val_loss");
  if (const std::string holder = lock_holder(folder); !holder.empty()) return missing("running now: " + holder);
  if (!status.empty()) return missing(status + (reason.empty() ? "" : ": " + reason));
  const std::string line = last_line(folder / "log.txt");
  return missing(line.empty() ? "unfinished" : "unfinished; last line of its log: " + line);
}

namespace {

// Why a finished run can't stand for the cell; empty if it can.
std::string misfit(const std::filesystem::path& folder, const Cell& cell) {
  json identity, summary;
  try {
    identity = read_record(folder / "cell.json").value_or(json::object());
    summary = read_record(folder / "summary.json").value_or(json::object());
  } catch (const RunError& e) {
    return e.what();
  }
  const std::string hash = text_at(identity, "hash");
  if (hash.empty()) return "its cell.json, which says of which configuration its run is, is missing or has no hash";
  if (hash != cell.hash)
    return "its run is of another configuration (hash " + hash + ", and the comparison's is " + cell.hash + ")";
  return damage_of_run(folder, summary);
}

// Runs of other data than most runs have are no part of the comparison.
void leave_out_other_data(std::vector<CellOutcome>& outcomes) {
  std::map<std::string, size_t> counts;
  for (const CellOutcome& o : outcomes)
    if (!o.data.empty()) ++counts[o.data];
  if (counts.size() < 2) return;
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (CellOutcome& o : outcomes)
    if (!o.data.empty() && o.data != most->first)
      o = missing("its run is of other data (SHA-256 " + o.data.substr(0, 12) + "…, and that of most cells is " +
                  most->first.substr(0, 12) + "…)");
}

}  // namespace

std::vector<CellOutcome> read_outcomes(const std::filesystem::path& dir, const Grid& grid) {
  std::vector<CellOutcome> outcomes;
  for (const Cell& cell : grid.cells) {
    CellOutcome outcome = read_outcome(dir / cell.name);
    if (outcome.state != CellOutcome::State::missing)
      if (const std::string why = misfit(dir / cell.name, cell); !why.empty()) outcome = missing(why);
    outcomes.push_back(std::move(outcome));
  }
  leave_out_other_data(outcomes);
  return outcomes;
}

Comparison load_comparison(const std::filesystem::path& dir) {
  Comparison out{dir, {}, {}, {}};
  const auto manifest = read_record(dir / "compare.json");
  if (!manifest) throw UsageError(dir.string() + ": has no compare.json, so it is no comparison's folder");
  out.manifest = *manifest;
  out.grid = grid_from_manifest(*manifest);
  out.outcomes = read_outcomes(dir, out.grid);
  return out;
}

Analysis analyse(const Comparison& comparison) {
  const Grid& grid = comparison.grid;
  Analysis out;
  for (const Cell& cell : grid.cells)
    if (std::find(out.settings.begin(), out.settings.end(), cell.setting) == out.settings.end())
      out.settings.push_back(cell.setting);
  std::vector<size_t> all;
  for (const json& setting : out.settings) {
    all.push_back(all.size());
    out.labels.push_back(describe_setting(grid, setting));
  }
  out.selection = !grid.tuning_seeds.empty() ? Selection::tuning_seeds
                  : grid.seeds.size() > 1    ? Selection::leave_one_out
                                             : Selection::same_seed;
  const std::vector<std::int64_t>& choosing = grid.tuning_seeds.empty() ? grid.seeds : grid.tuning_seeds;
  const Losses losses(comparison, out.settings);

  for (const std::string& name : grid.variants) {
    VariantResult v;
    v.name = name;
    v.best = losses.best(name, all, choosing);
    if (grid.search && grid.search->same_as.count(name))
      if (const auto other = losses.best(grid.search->same_as.at(name), all, choosing))
        v.best = counterpart(out.settings[*other], name, grid, out.settings);
    for (const std::int64_t seed : grid.seeds)
      v.chosen.push_back(out.selection == Selection::leave_one_out ? losses.best(name, all, without(grid.seeds, seed))
                                                                   : v.best);
    std::vector<size_t> candidates;
    if (v.best && !losses.diverged(name, *v.best, choosing)) candidates.push_back(*v.best);
    for (size_t i = 0; i < v.chosen.size(); ++i) {
      const std::vector<std::int64_t> seeds =
          out.selection == Selection::leave_one_out ? without(grid.seeds, grid.seeds[i]) : choosing;
      if (v.chosen[i] && !losses.diverged(name, *v.chosen[i], seeds)) candidates.push_back(*v.chosen[i]);
    }
    v.own = judge(losses, name, v.chosen, grid.seeds);
    v.curve = lr_curve(losses, name, grid, out.settings);
    v.ends = grid.search ? ends_of_search(v, grid, out.settings) : ends_of(candidates, grid, out.settings);
    for (const AxisEnd& end : v.ends)
      if (end.key == grid.lr_key) v.edge = end.edge;
    if (name == grid.baseline) out.baseline = out.variants.size();
    out.variants.push_back(std::move(v));
  }
  const VariantResult baseline = out.variants[out.baseline];
  for (VariantResult& v : out.variants) {
    if (!grid.search) v.matched = judge(losses, v.name, baseline.chosen, grid.seeds);
    if (v.name == baseline.name) continue;
    v.own.difference = paired_difference(v.own.losses, baseline.own.losses);
    if (!grid.search) v.matched.difference = paired_difference(v.matched.losses, baseline.own.losses);
  }
  for (const size_t i : needed_cells(grid, comparison.outcomes)) {
    const CellOutcome& outcome = comparison.outcomes[i];
    const auto v = std::find_if(out.variants.begin(), out.variants.end(),
                                [&](const VariantResult& r) { return r.name == grid.cells[i].variant; });
    if (v == out.variants.end()) throw UsageError("compare.json: the cell " + grid.cells[i].name + " is of no variant");
    ++v->runs;
    v->done += outcome.state == CellOutcome::State::done;
    v->diverged += outcome.state == CellOutcome::State::diverged;
    v->missing += outcome.state == CellOutcome::State::missing;
    if (outcome.state == CellOutcome::State::missing) out.missing.emplace_back(grid.cells[i].name, outcome.reason);
  }
  for (VariantResult& v : out.variants) v.all_diverged = v.runs > 0 && v.diverged == v.runs;
  return out;
}

}  // namespace scalevec::experiments
