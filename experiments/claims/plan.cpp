#include "experiments/claims/plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
using Kind = Contrast::Kind;

constexpr const char* kLrKey = "optimizer.lr";

std::string lr_text(double lr) { return printed("%.6g", lr); }

// To six digits, so that the name of a run and its lr agree; of a vertex and a law to three.
double rounded_lr(double lr, const char* format = "%.6g") { return std::stod(printed(format, lr)); }

// Two lrs closer than this are not told apart by adding one between them.
constexpr double kClosest = 1.15;

// Where the next lr is tried, beyond `end` of those the fit used: half-way to the next one of the grid where there is
// one, which diverged or did not fit, else beyond the grid at the ratio of its last two. Empty if there is no room.
std::optional<double> next_lr(const std::vector<double>& lrs, double end, bool high) {
  const size_t n = lrs.size(), at = static_cast<size_t>(std::find(lrs.begin(), lrs.end(), end) - lrs.begin());
  if (high ? at + 1 < n : at > 0) {
    const double other = lrs[high ? at + 1 : at - 1];
    const double ratio = std::max(other / end, end / other);
    return ratio < kClosest ? std::nullopt : std::optional(rounded_lr(std::sqrt(end * other)));
  }
  return rounded_lr(end * (high ? lrs[n - 1] / lrs[n - 2] : lrs[0] / lrs[1]));
}

// The side on which an lr is missing; empty if the vertex is inside.
std::optional<bool> missing_side(const VertexFit& fit) {
  switch (fit.state) {
    case VertexFit::State::inside:
      return std::nullopt;
    case VertexFit::State::below:
      return false;
    case VertexFit::State::above:
      return true;
    case VertexFit::State::no_minimum:
      break;
  }
  return std::log(fit.lowest) > 0.5 * (std::log(fit.lrs.front()) + std::log(fit.lrs.back()));
}

// The step of the trunk where a variant's schedule begins to decay.
std::int64_t branch_step(const json& config, const json& trunk, const std::string& where) {
  const json* decay = find_at(config, "schedule.decay_steps");
  const json* every = find_at(trunk, "checkpoint.every");
  const std::int64_t step = decay ? config.at("steps").get<std::int64_t>() - decay->get<std::int64_t>() : 0;
  if (step < 1 || step > trunk.at("steps").get<std::int64_t>() || !every || every->get<std::int64_t>() < 1 ||
      step % every->get<std::int64_t>())
    throw ConfigError(
        where + ".trunk: its schedule decays from step " + std::to_string(step) +
        " on; allowed: a step of which the trunk keeps a checkpoint (schedule.decay_steps, checkpoint.every)");
  return step;
}

}  // namespace

double width_of(const json& config) {
  const json* width = find_at(config, "model.width");
  return width && width->is_number() ? width->get<double>() : kNaN;
}

std::string run_name(const std::string& variant_folder, double lr, std::int64_t seed) {
  return variant_folder + "/lr=" + lr_text(lr) + ",seed=" + std::to_string(seed);
}

Plan::Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids, const Text& text)
    : ledger_(ledger), tier_(tier), text_(text) {
  for (const std::string& id : ids) {
    const Claim& named = ledger.claim(id);
    if (named.times != (tier == kTimesTier))
      throw UsageError("claims: " + id +
                       (named.times ? " is decided by times: scalevec claims --times" : " has no times"));
    if (!ledger.runs_at(named, tier))
      throw UsageError("claims: " + id + " does not run at --tier " + tier +
                       ", which runs: " + joined(ledger.tiers.at(tier).claims));
  }
  // Named over the whole ledger, whatever part of it is asked for, so that the parts share their runs.
  std::map<std::string, std::string> names;
  const auto variant_config = [&](const Claim& claim, const Variant& variant) {
    json config = ledger.variant_config(claim, variant, tier, text.name);
    config["name"] = "";
    if (text.vocab_size) set_at(config, "model.vocab_size", text.vocab_size, "--text " + text.name);
    return config;
  };
  const auto identity_of = [&](json config) {
    if (text.name != Text{}.name) config["data"] = {{"text", text.name}};
    return config;
  };
  for (const Claim& claim : ledger.claims) {
    if (!ledger.runs_at(claim, tier)) continue;
    for (const Variant& variant : claim.variants) {
      PlannedVariant planned;
      planned.variant = &variant;
      planned.config = variant_config(claim, variant);
      json identity = identity_of(planned.config);
      if (!variant.trunk.empty()) {
        const json trunk =
            variant_config(claim, *std::find_if(claim.variants.begin(), claim.variants.end(),
                                                [&](const Variant& a) { return a.name == variant.trunk; }));
        planned.trunk_step = branch_step(planned.config, trunk, claim.id + ": variants." + variant.name);
        identity["trunk"] = config_hash(identity_of(trunk));
      }
      if (!text.dir.empty()) planned.config["data"] = {{"dir", text.dir}};
      planned.hash = config_hash(identity);
      planned.folder = file_name(text.name) + "/" + names.emplace(planned.hash, file_name(variant.name)).first->second +
                       "-" + planned.hash.substr(0, 8);
      variants_[{claim.id, variant.name}] = std::move(planned);
    }
    const bool asked = ids.empty() || std::find(ids.begin(), ids.end(), claim.id) != ids.end();
    if (asked && ledger.runs_on(claim, tier, text.name)) claims_.push_back(&claim);
  }
}

const PlannedVariant& Plan::variant(const Claim& claim, const std::string& name) const {
  return variants_.at({claim.id, name});
}

std::vector<std::int64_t> Plan::looks(const Claim& claim, const Contrast& contrast) const {
  const std::vector<std::int64_t> looks = choice(claim).looks;
  if (contrast.decides && claim.judged && contrast.sequential()) return looks;
  return {contrast.most_seeds ? std::min(looks.back(), contrast.most_seeds) : looks.back()};
}

Cell Plan::cell(const Claim& claim, const PlannedVariant& variant, double lr, std::int64_t seed, bool tuning) const {
  // An empty setting: configurations of one variant differ in lr and seed alone and are checked once.
  Cell cell{run_name(variant.folder, lr, seed), variant.folder, json::object(), seed, tuning, variant.config, ""};
  set_at(cell.config, kLrKey, lr, variant.folder);
  cell.config["seed"] = seed;
  if (variant.trunk_step) {
    cell.trunk_step = variant.trunk_step;
    cell.config["model"] = {{"from", run_name(this->variant(claim, variant.variant->trunk).folder, lr, seed) + "@" +
                                         std::to_string(variant.trunk_step)},
                            {"optimizer_state", true},
                            {"go_on", true}};
  }
  // Not of the folder where the text lies, which another machine has elsewhere.
  cell.hash = config_hash({variant.hash, lr_text(lr), seed});
  return cell;
}

std::vector<std::int64_t> Plan::tuning_seeds(const Claim& claim, const std::string& name) const {
  std::vector<std::int64_t> seeds = choice(claim).tuning_seeds;
  const auto most = static_cast<size_t>(variant(claim, name).variant->most_tuning_seeds);
  if (most && most < seeds.size()) seeds.resize(most);
  return seeds;
}

Tuning Plan::tuning(const Claim& claim, const std::string& name, const Outcomes& outcomes) const {
  const PlannedVariant& planned = variant(claim, name);
  if (!planned.variant->lr_from.empty()) return tuning(claim, planned.variant->lr_from, outcomes);
  if (!planned.variant->lr_law.empty()) {
    // Wanted by the variants of the law themselves.
    Tuning out;
    out.variant = planned.folder;
    for (const std::string& from : planned.variant->lr_law)
      if (const Tuning t = tuning(claim, from, outcomes); t.state != Tuning::State::tunable) {
        out.state = t.state;
        out.problem = t.problem;
      }
    out.fit = law_fit(claim, *planned.variant, width_of(planned.config), outcomes);
    if (out.fit) out.best = rounded_lr(std::exp2(out.fit->log2_lr), "%.3g");
    return out;
  }
  const TierChoice tier = choice(claim);
  const std::vector<std::int64_t> seeds = tuning_seeds(claim, name);
  std::vector<double> lrs = tier.lrs;
  std::optional<VertexFit> fit;  // stays while runs of an added lr are missing
  for (std::int64_t grown = 0;; ++grown) {
    Tuning out;
    out.variant = planned.folder;
    out.fit = fit;
    std::vector<std::vector<double>> all;
    std::vector<TuningRun> runs;
    size_t usable = 0;
    for (const double lr : lrs) {
      std::vector<double>& losses = all.emplace_back();
      for (const std::int64_t seed : seeds) {
        const auto outcome = outcomes(run_name(planned.folder, lr, seed));
        if (!outcome) {
          out.wanted.emplace_back(lr, seed);
          continue;
        }
        losses.push_back(outcome->loss);
        runs.push_back({lr, seed, outcome->loss});
        if (outcome->state != CellOutcome::State::missing || out.state == Tuning::State::failed) continue;
        out.state = Tuning::State::failed;
        out.problem = run_name(planned.folder, lr, seed) + ": " + outcome->reason;
      }
      out.curve.push_back(lr_point(lr, losses));
      usable += out.curve.back().diverged == 0;
    }
    if (!out.wanted.empty() || out.state == Tuning::State::failed) return out;
    if (usable == 0) {
      out.state = Tuning::State::diverges;
      out.problem = planned.folder + ": diverged at every learning rate";
      return out;
    }
    if (lrs.size() == 1) {
      out.best = lrs.front();
      return out;
    }
    bool high = false;
    double end = lrs.front();
    if (usable >= kFewestLrs) {
      out.fit = fit = fit_vertex(runs);
      const auto side = missing_side(*out.fit);
      if (!side) {
        out.best = rounded_lr(std::exp2(out.fit->log2_lr), "%.3g");
        return out;
      }
      high = *side;
      end = high ? out.fit->lrs.back() : out.fit->lrs.front();
    }
    const auto next = next_lr(lrs, end, high);
    if (grown == tier.extensions || !next) {
      out.state = Tuning::State::at_edge;
      out.problem = planned.folder + ": its best learning rate lies " + (high ? "above " : "below ") + lr_text(end) +
                    ", " + (next ? "outside what was tried" : "too near to the lrs that diverge or do not fit");
      return out;
    }
    lrs.insert(std::upper_bound(lrs.begin(), lrs.end(), *next), *next);
  }
}

std::optional<VertexFit> Plan::law_fit(const Claim& claim, const Variant& planned, double width,
                                       const Outcomes& outcomes) const {
  VertexFit out;
  out.state = VertexFit::State::inside;
  out.curvature = 0.0;
  double w = 0.0, wx = 0.0, wy = 0.0, wxx = 0.0, wxy = 0.0;
  for (const std::string& name : planned.lr_law) {
    const Tuning t = tuning(claim, name, outcomes);
    if (!t.best || !t.fit) return std::nullopt;
    const double x = std::log2(width_of(variant(claim, name).config)), y = t.fit->log2_lr;
    const double weight = 1.0 / (1e-6 + t.fit->se * t.fit->se);
    w += weight;
    wx += weight * x;
    wy += weight * y;
    wxx += weight * x * x;
    wxy += weight * x * y;
    out.curvature = std::max(out.curvature, t.fit->curvature);
    out.freedom = out.freedom ? std::min(out.freedom, t.fit->freedom) : t.fit->freedom;
  }
  const double mean = wx / w, spread = wxx - wx * mean, b = (wxy - mean * wy) / spread, x = std::log2(width) - mean;
  out.log2_lr = wy / w + b * x;
  out.se = std::sqrt(1.0 / w + x * x / spread);
  return std::isfinite(out.log2_lr + out.se) ? std::optional(out) : std::nullopt;
}

std::optional<double> Plan::lr(const Claim& claim, const Contrast& contrast, const std::string& name,
                               const Outcomes& outcomes) const {
  if (contrast.at == Contrast::At::own) return tuning(claim, name, outcomes).best;
  const bool concerns =
      std::find(contrast.variants.begin(), contrast.variants.end(), claim.baseline) != contrast.variants.end() ||
      contrast.baselines.empty();
  return tuning(claim, concerns ? claim.baseline : contrast.baselines.front(), outcomes).best;
}

std::optional<std::string> Plan::better_variant(const Claim& claim, const Contrast& contrast,
                                                const Outcomes& outcomes) const {
  std::optional<std::string> best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::string& name : contrast.variants) {
    const Tuning t = tuning(claim, name, outcomes);
    if (!t.wanted.empty() || (!t.best && t.curve.empty())) return std::nullopt;
    const double loss = !t.best ? kNaN : t.fit ? t.fit->least : t.curve.front().loss.mean;
    if (!(loss < least)) continue;
    least = loss;
    best = name;
  }
  return best;
}

std::vector<std::string> Plan::variants_of(const Claim& claim, const Contrast& contrast,
                                           const Outcomes& outcomes) const {
  std::vector<std::string> names = contrast.baselines;
  if (contrast.kind != Kind::difference || contrast.variants.size() == 1) {
    names.insert(names.end(), contrast.variants.begin(), contrast.variants.end());
  } else {
    const auto better = better_variant(claim, contrast, outcomes);
    if (!better) return {};
    names.push_back(*better);
  }
  return names;
}

std::vector<Cell> Plan::wanted(const Outcomes& outcomes, const Pairs& pairs) const {
  std::vector<Cell> tuning_cells, cells;
  std::set<std::string> names;
  const auto want = [&](const Claim& claim, const PlannedVariant& planned, double lr, std::int64_t seed, bool tunes) {
    if (outcomes(run_name(planned.folder, lr, seed))) return;
    const PlannedVariant* next = &planned;
    if (planned.trunk_step) {
      const PlannedVariant& trunk = variant(claim, planned.variant->trunk);
      const auto made = outcomes(run_name(trunk.folder, lr, seed));
      if (made && made->state != CellOutcome::State::done) return;
      if (!made) next = &trunk;
    }
    if (!names.insert(run_name(next->folder, lr, seed)).second) return;
    (tunes ? tuning_cells : cells).push_back(cell(claim, *next, lr, seed, tunes));
  };
  for (const Claim* claim : claims_) {
    for (const Variant& variant : claim->variants)
      if (variant.tuned())
        for (const auto& [lr, seed] : tuning(*claim, variant.name, outcomes).wanted)
          want(*claim, this->variant(*claim, variant.name), lr, seed, true);
    const std::int64_t first = choice(*claim).first_seed;
    for (const Contrast& contrast : claim->contrasts) {
      const std::int64_t n = pairs(*claim, contrast);
      // Not before all of them have an lr: one whose lr cannot be found leaves nothing to compare.
      std::vector<std::pair<std::string, double>> ready;
      const std::vector<std::string> names_of_variants = variants_of(*claim, contrast, outcomes);
      for (const std::string& name : names_of_variants)
        if (const auto at = lr(*claim, contrast, name, outcomes)) ready.emplace_back(name, *at);
      if (names_of_variants.empty() || ready.size() != names_of_variants.size()) continue;
      for (const auto& [name, at] : ready)
        for (std::int64_t seed = first; seed < first + n; ++seed) want(*claim, variant(*claim, name), at, seed, false);
    }
  }
  // Seed by seed, so that a comparison stopped on the way is a balanced one.
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.seed < b.seed; });
  tuning_cells.insert(tuning_cells.end(), cells.begin(), cells.end());
  return tuning_cells;
}

}  // namespace scalevec::experiments
