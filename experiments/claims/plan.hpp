#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/claims/claim.hpp"
#include "experiments/compare/analysis.hpp"

// Which runs a ledger needs, given the runs that exist. A run is named by what it trains, so that claims share it;
// above all the runs of the baseline, which every paired difference uses.
namespace scalevec::experiments {

// An arm of a claim at a tier, with its configuration.
struct PlannedArm {
  const Arm* arm = nullptr;
  nlohmann::json config;  // without lr and seed
  std::string folder;     // "plain-1a2b3c4d": the ledger's first name for this configuration, and its hash
};

// The folder of a run inside runs/ of the ledger.
std::string run_name(const PlannedArm& arm, double lr, std::int64_t seed);

// The outcome of a run, by its name; empty as long as nothing has tried it.
using Outcomes = std::function<std::optional<CellOutcome>(const std::string& run)>;

struct TuningPoint {
  double lr;
  MeanInterval loss;  // over the tuning seeds
  std::vector<double> losses;
  size_t diverged = 0, missing = 0;
};

// How the lr of an arm was chosen: on the tuning seeds, over a grid that is extended by its own step at an end where
// the best lr lies.
struct Tuning {
  std::vector<TuningPoint> curve;                       // in order of lr
  std::vector<std::pair<double, std::int64_t>> wanted;  // lr and seed of runs that nothing has tried
  std::optional<double> best;                           // set when no run is wanted and one has finished
  bool interior = false;  // the best lr has neighbours on both sides, finished or diverged
  std::string problem;    // why there is no best, or why it is not interior
};

class Plan {
 public:
  // `data_dir` replaces the data of the tier; empty: the tier's. Throws UsageError for an unknown claim.
  Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids, const std::string& data_dir);

  const std::vector<const Claim*>& claims() const { return claims_; }
  const PlannedArm& arm(const Claim& claim, const std::string& name) const;
  TierChoice choice(const Claim& claim) const { return ledger_.choice(claim, tier_); }
  std::vector<std::int64_t> comparison_seeds(const Claim& claim, const Contrast& contrast) const;
  // The seeds on which the lr of an arm is chosen.
  std::vector<std::int64_t> tuning_seeds(const Claim& claim, const std::string& arm) const;
  Tuning tuning(const Claim& claim, const std::string& arm, const Outcomes& outcomes) const;
  // The lr of an arm in a contrast; empty if it is not known yet, or cannot be.
  std::optional<double> lr(const Claim& claim, const Contrast& contrast, const std::string& arm, const Outcomes&) const;
  // Among several better arms, the one with the least loss on the tuning seeds at its own best lr.
  std::optional<std::string> better_arm(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  // The runs that can be named now and that nothing has tried: first for tuning, then for comparisons, seed by seed.
  // Empty when every planned run was tried.
  std::vector<Cell> wanted(const Outcomes& outcomes) const;

 private:
  Cell cell(const PlannedArm& arm, double lr, std::int64_t seed, bool tuning) const;
  std::vector<std::string> arms_of(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  const Ledger& ledger_;
  std::string tier_;
  std::vector<const Claim*> claims_;
  std::map<std::pair<std::string, std::string>, PlannedArm> arms_;  // by claim and arm
};

}  // namespace scalevec::experiments
