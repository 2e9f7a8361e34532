#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scalevec/experiments/claims/claim.hpp"
#include "scalevec/experiments/compare/analysis.hpp"

// Which runs a ledger needs, given those that are there. A run is named by what it trains, so that claims share it: the
// baseline above all, whose seeds every paired difference uses.
namespace scalevec {

// An arm of a claim at a tier, with the configuration it stands for.
struct PlannedArm {
  const Arm* arm = nullptr;
  nlohmann::json config;  // without lr and seed
  std::string folder;     // "plain-1a2b3c4d": the ledger's first name for this configuration, and its hash
};

// A run's place under the ledger's runs/.
std::string run_name(const PlannedArm& arm, double lr, std::int64_t seed);

// What is known of a run, by its name: not there (empty) while nothing has tried it.
using Outcomes = std::function<std::optional<CellOutcome>(const std::string& run)>;

struct TuningPoint {
  double lr;
  MeanInterval loss;  // over the tuning seeds
  std::vector<double> losses;
  size_t diverged = 0, missing = 0;
};

// How an arm's lr was chosen: on the tuning seeds, over a grid that grows by its own step at an end where the best
// lies.
struct Tuning {
  std::vector<TuningPoint> curve;                       // by rising lr
  std::vector<std::pair<double, std::int64_t>> wanted;  // lr and seed of runs that nothing has tried
  std::optional<double> best;                           // once nothing is wanted and one finished
  bool interior = false;  // the best has finished neighbours or diverged ones on both sides
  std::string problem;    // why there is no best, or why it is not interior
};

class Plan {
 public:
  // Throws UsageError for an unknown claim. `data_dir` replaces the tier's data; empty: as the tier says.
  Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids, const std::string& data_dir);

  const std::vector<const Claim*>& claims() const { return claims_; }
  const PlannedArm& arm(const Claim& claim, const std::string& name) const;
  TierChoice choice(const Claim& claim) const { return ledger_.choice(claim, tier_); }
  std::vector<std::int64_t> comparison_seeds(const Claim& claim, const Contrast& contrast) const;
  // Those that an arm's lr is chosen on.
  std::vector<std::int64_t> tuning_seeds(const Claim& claim, const std::string& arm) const;
  Tuning tuning(const Claim& claim, const std::string& arm, const Outcomes& outcomes) const;
  // The lr an arm is trained at in a contrast; empty while it is not known, or never will be.
  std::optional<double> lr(const Claim& claim, const Contrast& contrast, const std::string& arm, const Outcomes&) const;
  // Of several better arms the one with the least loss on the tuning seeds, at its own best lr.
  std::optional<std::string> better_arm(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  // The runs that can be named now and that nothing has tried: tuning first, then comparisons, seed by seed. Empty once
  // every planned run was tried.
  std::vector<Cell> wanted(const Outcomes& outcomes) const;

 private:
  Cell cell(const PlannedArm& arm, double lr, std::int64_t seed, bool tuning) const;
  std::vector<std::string> arms_of(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  const Ledger& ledger_;
  std::string tier_;
  std::vector<const Claim*> claims_;
  std::map<std::pair<std::string, std::string>, PlannedArm> arms_;  // by claim and arm
};

}  // namespace scalevec
