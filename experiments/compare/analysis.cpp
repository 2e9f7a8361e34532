#include "scalevec/experiments/compare/analysis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "scalevec/experiments/compare/record_files.hpp"
#include "scalevec/experiments/compare/run_lock.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {
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

  // The setting of least mean loss over `seeds` among `candidates`.
  std::optional<size_t> best(const std::string& variant, const std::vector<size_t>& candidates,
                             const std::vector<std::int64_t>& seeds) const {
    std::optional<size_t> best;
    size_t most_there = 1;
    double least = kInf;
    for (const size_t setting : candidates) {
      size_t there = 0;
      double sum = 0.0;
      for (const std::int64_t seed : seeds) {
        const double loss = at(variant, setting, seed);
        if (std::isnan(loss)) continue;
        ++there;
        sum += loss;
      }
      const double mean = sum / static_cast<double>(there);
      if (there < most_there || (there == most_there && best && !(mean < least))) continue;
      best = setting;
      most_there = there;
      least = mean;
    }
    return best;
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

GridEdge edge_of(const VariantResult& variant, const Grid& grid, const std::vector<json>& settings) {
  const std::vector<double> lrs = sorted_lrs(grid);
  if (lrs.size() < 2) return GridEdge::none;
  std::vector<std::optional<size_t>> candidates{variant.best};
  candidates.insert(candidates.end(), variant.chosen.begin(), variant.chosen.end());
  for (const auto& setting : candidates) {
    if (!setting) continue;
    const double lr = settings[*setting].at(grid.lr_key).get<double>();
    if (lr == lrs.front()) return GridEdge::low;
    if (lr == lrs.back()) return GridEdge::high;
  }
  return GridEdge::none;
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
  for (const double lr : sorted_lrs(grid)) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < settings.size(); ++i)
      if (settings[i].at(grid.lr_key).get<double>() == lr) candidates.push_back(i);
    if (candidates.empty()) continue;
    LrPoint point{lr, losses.best(variant, candidates, grid.seeds).value_or(candidates.front()), {}, 0, 0};
    std::vector<double> values;
    for (const std::int64_t seed : grid.seeds) {
      values.push_back(losses.at(variant, point.setting, seed));
      point.diverged += std::isinf(values.back());
      point.missing += std::isnan(values.back());
    }
    point.loss = mean_interval(values);
    curve.push_back(point);
  }
  return curve;
}

}  // namespace

CellOutcome read_outcome(const std::filesystem::path& folder) {
  using State = CellOutcome::State;
  if (!std::filesystem::exists(folder)) return {State::missing, kNaN, "not started"};
  const json summary = read_json_if_whole(folder / "summary.json").value_or(json::object());
  const std::string status = text_at(summary, "status"), reason = text_at(summary, "reason");
  const double loss = number_at(summary, "val_loss");
  if (status == "diverged") return {State::diverged, kInf, reason.empty() ? "no reason given" : reason};
  if (status == "done" && std::isfinite(loss)) return {State::done, loss, ""};
  if (status == "done") return {State::missing, kNaN, "done, but its summary has no val_loss"};
  if (const std::string holder = lock_holder(folder); !holder.empty())
    return {State::missing, kNaN, "running now: " + holder};
  if (!status.empty()) return {State::missing, kNaN, status + (reason.empty() ? "" : ": " + reason)};
  const std::string line = last_line(folder / "log.txt");
  return {State::missing, kNaN, line.empty() ? "unfinished" : "unfinished; last line of its log: " + line};
}

Comparison load_comparison(const std::filesystem::path& dir) {
  Comparison out{dir, {}, {}, {}};
  const auto manifest = read_json_if_whole(dir / "compare.json");
  if (!manifest) throw UsageError(dir.string() + ": has no compare.json, so it is no comparison's folder");
  out.manifest = *manifest;
  out.grid = grid_from_manifest(*manifest);
  for (const Cell& cell : out.grid.cells) out.outcomes.push_back(read_outcome(dir / cell.name));
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
    for (const std::int64_t seed : grid.seeds)
      v.chosen.push_back(out.selection == Selection::leave_one_out ? losses.best(name, all, without(grid.seeds, seed))
                                                                   : v.best);
    v.edge = edge_of(v, grid, out.settings);
    v.own = judge(losses, name, v.chosen, grid.seeds);
    v.curve = lr_curve(losses, name, grid, out.settings);
    if (name == grid.baseline) out.baseline = out.variants.size();
    out.variants.push_back(std::move(v));
  }
  const VariantResult baseline = out.variants[out.baseline];
  for (VariantResult& v : out.variants) {
    v.matched = judge(losses, v.name, baseline.chosen, grid.seeds);
    if (v.name == baseline.name) continue;
    v.own.difference = paired_difference(v.own.losses, baseline.own.losses);
    v.matched.difference = paired_difference(v.matched.losses, baseline.own.losses);
  }
  for (size_t i = 0; i < grid.cells.size(); ++i) {
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
  return out;
}

}  // namespace scalevec
