#include "experiments/claims/plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
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

// The lr beyond the grid's end at the ratio of its last two, to six digits so that its name and its value agree.
double beyond(const std::vector<double>& lrs, bool high) {
  const size_t n = lrs.size();
  const double ratio = n < 2 ? 2.0 : high ? lrs[n - 1] / lrs[n - 2] : lrs[0] / lrs[1];
  return std::stod(lr_text((high ? lrs.back() : lrs.front()) * ratio));
}

}  // namespace

std::string run_name(const std::string& arm_folder, double lr, std::int64_t seed) {
  return arm_folder + "/lr=" + lr_text(lr) + ",seed=" + std::to_string(seed);
}

std::optional<CellOutcome> RunStore::outcome(const std::string& run) const {
  if (const auto it = finished_.find(run); it != finished_.end()) return it->second;
  if (std::filesystem::exists(runs_ / run / "summary.json")) {
    const CellOutcome read = read_outcome(runs_ / run);
    if (read.state != CellOutcome::State::missing) return finished_[run] = read;
  }
  const auto it = failed_.find(run);
  if (it == failed_.end()) return std::nullopt;
  return CellOutcome{CellOutcome::State::missing, kNaN, it->second, {}};
}

Plan::Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids,
           const std::string& data_dir)
    : ledger_(ledger), tier_(tier) {
  const auto here = [&](const Claim& claim) { return claim.times == (tier == kTimesTier); };
  for (const std::string& id : ids)
    if (const Claim& named = ledger.claim(id); !here(named))
      throw UsageError("claims: " + id +
                       (named.times ? " is decided by times: scalevec claims --times" : " has no times"));
  // Named over the whole ledger, whatever part of it is asked for, so that the parts share their runs.
  std::map<std::string, std::string> names;
  for (const Claim& claim : ledger.claims) {
    for (const Arm& arm : claim.arms) {
      PlannedArm planned{&arm, ledger.arm_config(claim, arm, tier), ""};
      if (!data_dir.empty()) planned.config["data"] = {{"dir", data_dir}};
      planned.config["name"] = "";
      const std::string hash = config_hash(planned.config);
      planned.folder = names.emplace(hash, file_name(arm.name)).first->second + "-" + hash.substr(0, 8);
      arms_[{claim.id, arm.name}] = std::move(planned);
    }
    if (here(claim) && (ids.empty() || std::find(ids.begin(), ids.end(), claim.id) != ids.end()))
      claims_.push_back(&claim);
  }
}

const PlannedArm& Plan::arm(const Claim& claim, const std::string& name) const { return arms_.at({claim.id, name}); }

std::vector<std::int64_t> Plan::comparison_seeds(const Claim& claim, const Contrast& contrast) const {
  const TierChoice tier = choice(claim);
  const std::int64_t n = contrast.most_seeds ? std::min(tier.seeds, contrast.most_seeds) : tier.seeds;
  std::vector<std::int64_t> seeds(static_cast<size_t>(n));
  std::iota(seeds.begin(), seeds.end(), tier.first_seed);
  return seeds;
}

Cell Plan::cell(const PlannedArm& arm, double lr, std::int64_t seed, bool tuning) const {
  // An empty setting: configurations of one arm differ in lr and seed alone and are checked once.
  Cell cell{run_name(arm.folder, lr, seed), arm.folder, json::object(), seed, tuning, arm.config, ""};
  set_at(cell.config, kLrKey, lr, arm.folder);
  cell.config["seed"] = seed;
  cell.hash = config_hash(cell.config);
  return cell;
}

std::vector<std::int64_t> Plan::tuning_seeds(const Claim& claim, const std::string& name) const {
  std::vector<std::int64_t> seeds = choice(claim).tuning_seeds;
  const auto most = static_cast<size_t>(arm(claim, name).arm->most_tuning_seeds);
  if (most && most < seeds.size()) seeds.resize(most);
  return seeds;
}

Tuning Plan::tuning(const Claim& claim, const std::string& name, const Outcomes& outcomes) const {
  const PlannedArm& planned = arm(claim, name);
  if (!planned.arm->lr_from.empty()) return tuning(claim, planned.arm->lr_from, outcomes);
  const TierChoice tier = choice(claim);
  const std::vector<std::int64_t> seeds = tuning_seeds(claim, name);
  std::vector<double> lrs = tier.lrs;
  for (std::int64_t grown = 0;; ++grown) {
    Tuning out;
    out.arm = planned.folder;
    std::vector<std::vector<double>> all;
    for (const double lr : lrs) {
      std::vector<double>& losses = all.emplace_back();
      for (const std::int64_t seed : seeds) {
        const auto outcome = outcomes(run_name(planned.folder, lr, seed));
        if (!outcome) {
          out.wanted.emplace_back(lr, seed);
          continue;
        }
        losses.push_back(outcome->loss);
        if (outcome->state != CellOutcome::State::missing || out.state == Tuning::State::failed) continue;
        out.state = Tuning::State::failed;
        out.problem = run_name(planned.folder, lr, seed) + ": " + outcome->reason;
      }
      out.curve.push_back(lr_point(lr, losses));
    }
    if (!out.wanted.empty() || out.state == Tuning::State::failed) return out;
    // A lr at which a seed diverged is not chosen.
    const size_t best = best_setting(all).value();
    if (out.curve[best].diverged) {
      out.state = Tuning::State::diverges;
      out.problem = planned.folder + ": diverged at every learning rate";
      return out;
    }
    out.best = lrs[best];
    if (lrs.size() == 1 || (best > 0 && best + 1 < lrs.size())) return out;
    const bool high = best + 1 == lrs.size();
    if (grown == tier.extensions) {
      out.state = Tuning::State::at_edge;
      out.problem = planned.folder + ": its best learning rate, " + lr_text(*out.best) + ", is the " +
                    (high ? "highest" : "lowest") + " tried";
      return out;
    }
    lrs.insert(high ? lrs.end() : lrs.begin(), beyond(lrs, high));
  }
}

std::optional<double> Plan::lr(const Claim& claim, const Contrast& contrast, const std::string& name,
                               const Outcomes& outcomes) const {
  if (contrast.at == Contrast::At::own) return tuning(claim, name, outcomes).best;
  const bool concerns = std::find(contrast.arms.begin(), contrast.arms.end(), claim.baseline) != contrast.arms.end() ||
                        contrast.baselines.empty();
  return tuning(claim, concerns ? claim.baseline : contrast.baselines.front(), outcomes).best;
}

std::optional<std::string> Plan::better_arm(const Claim& claim, const Contrast& contrast,
                                            const Outcomes& outcomes) const {
  std::optional<std::string> best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::string& name : contrast.arms) {
    const Tuning t = tuning(claim, name, outcomes);
    if (!t.wanted.empty() || (!t.best && t.curve.empty())) return std::nullopt;
    for (const LrPoint& p : t.curve)
      if (t.best && p.lr == *t.best && p.loss.mean < least) {
        least = p.loss.mean;
        best = name;
      }
  }
  return best;
}

std::vector<std::string> Plan::arms_of(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const {
  std::vector<std::string> names = contrast.baselines;
  if (contrast.kind != Kind::difference || contrast.arms.size() == 1)
    names.insert(names.end(), contrast.arms.begin(), contrast.arms.end());
  else if (const auto better = better_arm(claim, contrast, outcomes))
    names.push_back(*better);
  return names;
}

std::vector<Cell> Plan::wanted(const Outcomes& outcomes) const {
  std::vector<Cell> tuning_cells, cells;
  std::set<std::string> names;
  const auto want = [&](const PlannedArm& planned, double lr, std::int64_t seed, bool tunes) {
    const std::string name = run_name(planned.folder, lr, seed);
    if (outcomes(name) || !names.insert(name).second) return;
    (tunes ? tuning_cells : cells).push_back(cell(planned, lr, seed, tunes));
  };
  for (const Claim* claim : claims_) {
    for (const Arm& arm : claim->arms) {
      const PlannedArm& tuned = this->arm(*claim, arm.lr_from.empty() ? arm.name : arm.lr_from);
      for (const auto& [lr, seed] : tuning(*claim, arm.name, outcomes).wanted) want(tuned, lr, seed, true);
    }
    for (const Contrast& contrast : claim->contrasts)
      for (const std::string& name : arms_of(*claim, contrast, outcomes)) {
        const Tuning t = tuning(*claim, name, outcomes);
        const auto at = lr(*claim, contrast, name, outcomes);
        if (!at || !t.wanted.empty()) continue;
        for (const std::int64_t seed : comparison_seeds(*claim, contrast)) {
          want(arm(*claim, name), *at, seed, false);
          if (contrast.kind == Kind::lr_shift)
            for (const LrPoint& p : t.curve) want(arm(*claim, name), p.lr, seed, false);
        }
      }
  }
  // Seed by seed, so that a comparison stopped on the way is a balanced one.
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.seed < b.seed; });
  tuning_cells.insert(tuning_cells.end(), cells.begin(), cells.end());
  return tuning_cells;
}

}  // namespace scalevec::experiments
